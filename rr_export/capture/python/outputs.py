"""What a model returns: tensors, whatever is decided."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.lifting import Lifter
from rr_export.capture.python.shapes import is_apart, shown_shapes
from rr_export.capture.python.values import (
    Drawn,
    Later,
    Poison,
    Sifted,
    UniformDraw,
    Varying,
    at_hand,
    has_tensors,
    is_symbolic,
    settled,
)
from rr_export.errors import CaptureError


class Outputs:
    """Makes tensors of what the model returns.

    Args:
        ledger: the decisions, whose lines errors name.
        lifter: for tensors that vary.
    """

    def __init__(self, ledger: Ledger, lifter: Lifter) -> None:
        self._ledger, self._lifter = ledger, lifter

    def of(self, result: Any) -> Any:
        """Returns what the model returns: tensors, whatever is decided."""
        values, spec = pytree.tree_flatten(result, is_leaf=is_symbolic)
        return pytree.tree_unflatten([self._output(value) for value in values], spec)

    def _output(self, value: Any) -> Any:
        unread = value.unreadable if isinstance(value, Sifted) else value
        if isinstance(unread, Poison):
            raise CaptureError(
                f"{self._lines(value) or 'model'}: expected {unread.expected}, got {unread.got}; {unread.do}"
            )
        value = settled(value)
        if has_tensors(value) and all(isinstance(v, Later | torch.Tensor) for v in dd.leaves(value.diagram)):
            value = self._lifter.lift(lambda tensor: tensor.clone(), (value,), {})
            if is_apart(value):
                self._refuse_shapes(value)
            return value
        if not is_symbolic(value) and not isinstance(value, Sifted):
            return value
        got = "a number that is drawn"
        if isinstance(value, Varying):
            kinds = " and ".join(sorted({type(at_hand(v)).__name__ for v in dd.leaves(value.diagram)}))
            got = f"one of type {kinds} that depends on what is decided there"
        raise CaptureError(
            f"{self._lines(value)}: expected tensors as outputs of the model, got {got}; return what is computed from "
            "it"
        )

    def _refuse_shapes(self, value: Varying) -> NoReturn:
        raise CaptureError(
            f"{self._lines(value)}: expected outputs of the model that have one shape whatever is decided there, got "
            f"{shown_shapes(value)}; make the shapes agree before they are returned: pool, pad or resize"
        )

    def _lines(self, value: Any) -> str:
        """Where what a value depends on is decided."""
        return ", ".join(sorted({str(self._ledger.decisions[d].line) for d in _decisions_in(value)}))


def _decisions_in(value: Any) -> set[int]:
    """The decisions that a value depends on."""
    if isinstance(value, UniformDraw):
        return {value.decision}
    if isinstance(value, Drawn):
        return set().union(*map(_decisions_in, value.values.reshape(-1)))
    if isinstance(value, Sifted):
        return set().union(*(_decisions_in(there) for there, _ in value.elements))
    return dd.decisions(value.diagram) if isinstance(value, Varying) else set()
