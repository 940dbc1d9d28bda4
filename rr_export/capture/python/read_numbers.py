"""Numbers that the original code reads out of tensors: wherever the truth of a comparison is asked, a run is told.

They compute as numbers do, and what is computed of them, on whatever line and in whatever function, is one of them.
What a comparison gives is no bool yet: who asks it may be told another outcome than its own.
"""

from __future__ import annotations

import builtins
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Oracle(Protocol):
    """A run of the original code, which is asked how conditions go."""

    def ask(self, condition: ReadNumber, natural: bool) -> bool:
        """Returns how a condition goes in this run."""

    def compared(self, truth: ReadTruth) -> None:
        """Two numbers were compared; nobody has asked the outcome yet."""


following: ContextVar[Oracle | None] = ContextVar("rr_python_following", default=None)


class ReadFloat(float):
    """A number that was read out of a tensor, or computed of such."""

    __hash__ = float.__hash__


class ReadInt(int):
    """A whole number of this kind."""

    __hash__ = int.__hash__


class ReadTruth(int):
    """The outcome of a comparison, as a number; its truth is a condition."""

    __hash__ = int.__hash__

    def __repr__(self) -> str:
        return repr(int(self) == 1)

    __str__ = __repr__


ReadNumber = ReadFloat | ReadInt | ReadTruth


def number_read(value: float | bool) -> ReadNumber:
    """Returns what stands for a number that was read."""
    if isinstance(value, bool):
        truth, run = ReadTruth(value), following.get()
        if run is not None:
            run.compared(truth)
        return truth
    return ReadFloat(value) if isinstance(value, float) else ReadInt(value)


def _plain(value: Any) -> Any:
    if isinstance(value, ReadTruth):
        return int.__eq__(value, 1)
    return float(value) if isinstance(value, ReadFloat) else int(value) if isinstance(value, ReadInt) else value


def _read(found: Any) -> Any:
    if isinstance(found, tuple):
        return tuple(map(_read, found))
    return number_read(found) if isinstance(found, bool | int | float) else found


def _wrapped(function: Callable[..., Any], *, flipped: bool = False) -> Callable[..., Any]:
    def operate(*operands: Any) -> Any:
        if not all(isinstance(o, bool | int | float) for o in operands):
            return NotImplemented
        plain = [_plain(o) for o in operands]
        return _read(function(*(plain[::-1] if flipped else plain)))

    return operate


def _truth(self: ReadNumber) -> bool:
    natural, run = bool(_plain(self)), following.get()
    return natural if run is None else run.ask(self, natural)


for _class in (ReadFloat, ReadInt, ReadTruth):
    for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(_class, f"__{_name}__", _wrapped(getattr(operator, _name)))
    _whole: dict[str, Any] = {} if _class is ReadFloat else {"lshift": operator.lshift, "rshift": operator.rshift}
    _binary = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
    for _name, _function in ({n: getattr(operator, n) for n in _binary} | {"divmod": divmod} | _whole).items():
        setattr(_class, f"__{_name}__", _wrapped(_function))
        setattr(_class, f"__r{_name}__", _wrapped(_function, flipped=True))
    for _name in ("neg", "pos", "abs"):
        setattr(_class, f"__{_name}__", _wrapped(getattr(operator, _name)))
    if _class is not ReadFloat:
        for _name, _function in (("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)):
            setattr(_class, f"__{_name}__", _wrapped(_function))
            setattr(_class, f"__r{_name}__", _wrapped(_function, flipped=True))
    _own = {"__round__": _wrapped(round), "__bool__": _truth}
    if _class is not ReadFloat:
        _own["__invert__"] = _wrapped(lambda number: -1 - number)
    for _name, _method in _own.items():
        setattr(_class, _name, _method)


_EXTREMES = {"max": max, "min": min}
_lock, _blocks = threading.Lock(), [0]


def _extreme(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = _EXTREMES[name]

    def among(*values: Any, **options: Any) -> Any:
        items = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
        numbers = all(isinstance(v, bool | int | float) for v in items)
        if following.get() is None or options or not numbers or not any(isinstance(v, ReadNumber) for v in items):
            return function(*values, **options)
        return number_read(function([_plain(v) for v in items]))

    return among


@contextmanager
def extremes_read() -> Iterator[None]:
    """Inside, ``max`` and ``min`` of numbers that were read are such numbers: their own comparisons ask nothing.

    Where no run is followed they do as ever.
    """
    with _lock:
        _blocks[0] += 1
        if _blocks[0] == 1:
            for name in _EXTREMES:
                setattr(builtins, name, _extreme(name))
    try:
        yield
    finally:
        with _lock:
            _blocks[0] -= 1
            if not _blocks[0]:
                for name, function in _EXTREMES.items():
                    setattr(builtins, name, function)
