"""Conditions, and code that is run both ways where one varies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch.utils.weak import WeakIdKeyDictionary

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import truth
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.markers import Markers
from rr_export.capture.python.notes import CONDITION
from rr_export.capture.python.scalars import has_scalars
from rr_export.capture.python.splitting import Splitter
from rr_export.capture.python.values import Drawn, Sifted, Varying, is_symbolic, settled
from rr_export.capture.python.whereabouts import Whereabouts

Condition = bool | Varying | torch.Tensor  # the tensor: bool [], which depends on the input


class Branching:
    """Asks conditions.

    Args:
        splitter: runs code all ways.
        ledger: the decisions, of which a condition on the input is one.
        markers: of conditions on the input.
        numbers: those that are the same in every run.
        whereabouts: where the code is.
    """

    def __init__(
        self,
        splitter: Splitter,
        ledger: Ledger,
        markers: Markers,
        numbers: KnownNumbers,
        whereabouts: Whereabouts,
    ) -> None:
        self._splitter, self._ledger, self._markers = splitter, ledger, markers
        self._numbers, self._whereabouts = numbers, whereabouts
        self._conditions = WeakIdKeyDictionary()  # bool [] by the tensors that the code asks
        self._gates = WeakIdKeyDictionary()  # decisions by the tensors that are their conditions

    def as_condition(self, value: Any) -> Condition:
        """Returns a value as a condition: a bool, what depends on decisions, or bool [] that depends on the input."""
        if isinstance(value, Sifted):
            value = value.length()
        if isinstance(value, torch.Tensor):
            return self._of_tensor(value)
        if isinstance(value, torch.SymBool):
            return bool(value)
        if is_symbolic(value):
            found = settled(truth(value))
            return found if isinstance(found, Varying) else bool(found)
        return bool(value)

    def as_index(self, key: Any, owner: Any) -> Any:
        """Returns what to look up in a container: a number that was read is one where it is the same in every run."""
        if isinstance(key, slice):
            return slice(*(self.as_index(bound, owner) for bound in (key.start, key.stop, key.step)))
        read = has_scalars(key)  # on some paths
        if not read and (not isinstance(key, torch.Tensor) or isinstance(owner, Drawn | Varying)):
            return key
        numbers = None if read else self._numbers.constant(key)
        if numbers is None:
            self._whereabouts.refuse(
                "an index that is drawn, or the same in every run",
                "one that depends on the input",
                "compare it: for i, layer in enumerate(layers): if k == i: x = layer(x)",
            )
        return numbers.reshape(()).item()

    def refuse_identity(self) -> NoReturn:
        """Raises: a condition on the input, which is a tensor here, is compared with True or False by ``is``."""
        self._whereabouts.refuse("a condition", "`is True` or `is False` of one on the input", "leave `is ...` out")

    def _of_tensor(self, tensor: torch.Tensor) -> bool | torch.Tensor:
        if tensor.numel() != 1:
            self._whereabouts.refuse(
                "a condition with one element", f"a tensor of shape {list(tensor.shape)}", "reduce it"
            )
        numbers = self._numbers.constant(tensor, CONDITION)
        if numbers is not None:
            return bool(numbers.reshape(()))
        known = self._conditions.get(tensor)  # type: ignore[no-untyped-call]
        if known is not None and self._is_made(known):
            return known  # type: ignore[no-any-return]
        found: torch.Tensor = (tensor != 0).reshape(())  # anew: the one before may stand in a branch that is over
        self._conditions[tensor] = found
        if known is not None and known in self._gates:
            self._gates[found] = self._gates[known]
        return found

    def _is_made(self, condition: torch.Tensor) -> bool:
        """Whether a condition was decided on every way that leads here."""
        return condition in self._gates and self._ledger.is_made(self._gates[condition])

    def branch(self, condition: Condition, arm: Callable[[bool], Any]) -> Any:
        """Returns what ``arm`` gives for the condition; both ways are run where it varies."""
        if isinstance(condition, bool):
            return arm(condition)
        if isinstance(condition, Varying):
            which = dd.apply(lambda holds: 0 if holds else 1, condition.diagram)
        else:  # outcome 1 of the gate: the condition holds
            which = dd.node(self._gate(condition), (1.0,), (dd.Leaf(1), dd.Leaf(0)))
        return self._splitter.split(which, 2, lambda k: arm(k == 0), names=("true", "false"))

    def _gate(self, condition: torch.Tensor) -> int:
        """The decision that a condition on the input is: the one that it was where it is asked again."""
        if self._is_made(condition):
            known: int = self._gates[condition]
            return known
        before: int | None = self._gates.get(condition)  # type: ignore[no-untyped-call]
        again = before if before is None else self._ledger.decisions[before].again
        number = self._gates[condition] = len(self._ledger.decisions)
        tensor, line = self._markers.gate(condition, number), self._whereabouts.line()
        return self._ledger.add(
            Decision(
                "gate",
                line,
                self._ledger.guard,
                tensor=tensor,
                cuts={1.0},
                lines=self._whereabouts.lines(),
                again=before if again is None else again,
            )
        )

    def holds(self, value: Any) -> Any:
        """Returns a condition as a bool, or as one that varies; one on the input becomes a decision."""
        return settled(self.branch(self.as_condition(value), lambda outcome: outcome))
