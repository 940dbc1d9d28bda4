"""Functions of the standard library that ask what varies, said with what may vary."""

from __future__ import annotations

import bisect
import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from rr_export.capture.python.arithmetic import call_plain, operate
from rr_export.capture.python.cursors import Cursor
from rr_export.capture.python.plain_access import look
from rr_export.capture.python.values import Caller, Drawn, Sifted, UniformDraw, Varying, is_plain, varies

_RIGHT = (bisect.bisect, bisect.bisect_right)
_LEFT = (bisect.bisect_left, np.searchsorted)


def stdlib_call(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Caller, holds: Callable[[Any], Any]
) -> Any:
    """Returns what a function of the standard library gives where it asks what varies; None: it is none of these.

    Args:
        function: what is called.
        args: its arguments.
        kwargs: those by name.
        call: calls what a function is given.
        holds: asks a condition.
    """
    if kwargs or not args:
        return None
    if function is filter and len(args) == 2 and _is_sized(args[1]) and args[0] is not None:
        there = [(holds(call(args[0], (item,), {})), item) for item in args[1]]
        return Sifted(there) if varies([held for held, _ in there]) else Cursor([one for held, one in there if held])
    if function is itertools.compress and len(args) == 2 and _are_sized(args) and varies(args[1]):
        return Sifted([(holds(held), item) for item, held in zip(*args, strict=False)])
    if function is itertools.islice and _is_sized(args[0]) and varies(args[1:]):
        items = tuple(args[0])
        return call_plain(lambda *bounds: tuple(itertools.islice(items, *bounds)), *args[1:])
    if look(function, "__name__", "") == "join" and type(look(function, "__self__")) is str:
        parts = list(args[0]) if isinstance(args[0], Cursor | list | tuple) else []
        return (
            call_plain(lambda *texts: function(texts), *parts) if varies(parts) and all(map(_is_text, parts)) else None
        )
    if any(function is one for one in (*_RIGHT, *_LEFT)) and len(args) == 2:
        return _place_in(args[0], args[1], operator.ge if any(function is one for one in _RIGHT) else operator.gt)
    return None


def _place_in(steps: Any, value: Any, after: Callable[[Any, Any], Any]) -> Any:
    """How many of the steps, which are numbers in order, come before a value that is drawn."""
    if isinstance(value, Drawn) and value.values.size == 1:
        value = value.item()
    steps = steps.tolist() if isinstance(steps, np.ndarray) else steps
    ordered = type(steps) in (list, tuple) and all(isinstance(step, int | float) for step in steps)
    if not isinstance(value, Varying | UniformDraw) or not ordered or list(steps) != sorted(steps):
        return None
    return functools.reduce(lambda count, step: operate(operator.add, count, operate(after, value, step)), steps, 0)


def _is_text(part: Any) -> bool:
    return isinstance(part, str | Varying)


def _is_sized(items: Any) -> bool:
    """Whether the items can be gone through again, and may each be there or not."""
    return hasattr(type(items), "__len__") and not isinstance(items, Varying | Drawn | UniformDraw | Sifted | dict)


def _are_sized(values: tuple[Any, ...]) -> bool:
    return all(map(_is_sized, values)) and all(map(is_plain, values[0]))
