"""Names that hold tensors of different shapes, by what was decided.

What follows is computed for each shape, in a branch of its own, until the shapes agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.values import Later, Varying, at_hand, leaves_of, plain, tracer
from rr_export.eager.skip_results import same_shape

MOST_COPIES = 4_096  # how often, in all, something may be computed for one of several shapes

# what a tensor tells of its form alone
_TELLING = frozenset(
    {"shape", "ndim", "dtype", "device", "layout", "is_sparse", "is_quantized", "is_nested", "is_meta"}
)
_ANSWERING = frozenset({"size", "dim", "ndimension", "numel", "nelement", "__len__", "is_floating_point", "is_complex"})


def is_apart(value: Any) -> bool:
    """Returns whether a value is one of several tensors, of which some were computed in branches."""
    return (
        isinstance(value, Varying)
        and are_tensors([value])
        and any(isinstance(v, torch.Tensor) for v in dd.leaves(value.diagram))
    )


def are_tensors(values: Sequence[Any]) -> bool:
    """Returns whether each of the values is a tensor, or one of several."""
    leaves = [leaf for v in values for leaf in leaves_of(v)]
    return all(isinstance(v, torch.Tensor | Later) for v in leaves)


def by_shape(diagram: dd.Diagram) -> dd.Diagram:
    """Returns which shape it is, 0, 1, ..., that the tensor of a diagram has."""
    found: list[torch.Tensor] = []

    def number(tensor: Any) -> int:
        tensor = at_hand(tensor)
        for k, other in enumerate(found):
            if same_shape(tensor, other):
                return k
        found.append(tensor)
        return len(found) - 1

    return dd.apply(number, diagram)


def tells_form(name: str, args: Any = ()) -> bool:
    """Returns whether an attribute of a tensor, or a method that is given ``args``, tells of its form alone."""
    return name in _TELLING or (name in _ANSWERING and all(isinstance(a, int) for a in args))


def form(value: Varying, ask: Callable[[torch.Tensor], Any]) -> Any:
    """Returns what is told of the form of a tensor: one value where that of every shape is the same."""
    found: list[Any] = []

    def one(tensor: Any) -> Any:
        told = ask(at_hand(tensor))
        for other in found:
            if _equal(told, other):
                return other
        found.append(told)
        return told

    return plain(dd.apply(one, dd.given(value.diagram, tracer().guard)))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_equal(m, n) for m, n in zip(a, b, strict=True))
    return type(a) is type(b) and statically_known_true(a == b)


def shown_shapes(value: Varying) -> str:
    """Returns the shapes that a tensor may have."""
    shapes = dict.fromkeys(str(list(at_hand(tensor).shape)) for tensor in dd.leaves(value.diagram))
    return " and ".join(shapes)
