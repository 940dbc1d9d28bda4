"""Numbers that are drawn, which tell what they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from rr_export.capture.python.random_functions import Law

Tell = Callable[[float], None]  # gets the position, on the axis of the draw, that it is compared with


class WatchedFloat(float):
    """The number ``scale * u + offset`` of a uniform draw u; sums and products with numbers are such numbers too."""

    tell: Tell
    scale: float
    offset: float

    def __new__(cls, value: float, tell: Tell, scale: float, offset: float) -> WatchedFloat:
        """Returns the number, whose draw is known."""
        made = super().__new__(cls, value)
        made.tell, made.scale, made.offset = tell, scale, offset
        return made

    def _affine(self, value: float, scale: float, offset: float) -> Any:
        return WatchedFloat(value, self.tell, scale, offset) if scale else value


def _compares(name: str) -> Callable[[WatchedFloat, Any], Any]:
    compare = getattr(float, name)

    def told(self: WatchedFloat, other: Any) -> Any:
        if isinstance(other, Real):
            self.tell((float(other) - self.offset) / self.scale)
        return compare(self, other)

    return told


def _computes(name: str, scale: Callable[[float, float], float], offset: Callable[[float, float], float]) -> Any:
    compute = getattr(float, name)

    def made(self: WatchedFloat, other: Any) -> Any:
        value = compute(self, other)
        if not isinstance(other, Real):
            return value
        number = float(other)
        return self._affine(value, scale(self.scale, number), offset(self.offset, number))

    return made


for _name in ("__lt__", "__le__", "__gt__", "__ge__"):
    setattr(WatchedFloat, _name, _compares(_name))
for _name, _scale, _offset in (
    *((n, lambda s, n: s, lambda o, n: o + n) for n in ("__add__", "__radd__")),
    ("__sub__", lambda s, n: s, lambda o, n: o - n),
    ("__rsub__", lambda s, n: -s, lambda o, n: n - o),
    *((n, lambda s, n: s * n, lambda o, n: o * n) for n in ("__mul__", "__rmul__")),
    ("__truediv__", lambda s, n: s / n, lambda o, n: o / n),
):
    setattr(WatchedFloat, _name, _computes(_name, _scale, _offset))

_COMPARISONS = {
    function
    for name in ("lt", "le", "gt", "ge", "less", "less_equal", "greater", "greater_equal")
    for home in (torch, torch.Tensor)
    if (function := getattr(home, name, None)) is not None
} | {getattr(torch.Tensor, f"__{n}__") for n in ("lt", "le", "gt", "ge")}


class WatchedTensors:
    """Uniform draws that are tensors of one element."""

    def __init__(self) -> None:
        self._known = WeakIdKeyDictionary()

    def add(self, tensor: torch.Tensor, tell: Tell, law: Law) -> None:
        """From now on comparisons of the tensor are told."""
        self._known[tensor] = tell, law

    def told(self, function: Any, args: Any) -> None:
        """After a function of torch."""
        if function not in _COMPARISONS or len(args) < 2:
            return
        for one, other in (args[:2], args[1::-1]):
            if isinstance(other, torch.Tensor) and (other.numel() != 1 or other in self._known):
                continue
            if isinstance(one, torch.Tensor) and one in self._known:
                tell, law = self._known[one]
                tell((float(other) - law.offset) / law.scale)
