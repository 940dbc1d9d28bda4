"""What is not tracked shows that it was changed, whatever it is, and shows nothing where it was not."""

from __future__ import annotations

import array
import contextvars
import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rr_export.capture.python.traces import LARGE, trace_of


def turns() -> Any:
    yield from range(3)


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "array of numpy": (lambda: np.zeros(3), lambda v: v.fill(1)),
    "large array": (lambda: np.zeros(2 * LARGE, np.uint8), lambda v: v.__setitem__(-1, 1)),
    "shape": (lambda: np.zeros((2, 3)), lambda v: v.resize(3, 2)),
    "strided view": (lambda: np.zeros((4, 4))[::2, 1], lambda v: v.__setitem__(1, 1)),
    "objects of numpy": (lambda: np.array([None, None]), lambda v: v.__setitem__(1, "x")),
    "context variable": (lambda: contextvars.ContextVar("x", default=0), lambda v: v.set(1)),
    "array": (lambda: array.array("d", [1, 2]), lambda v: v.append(3)),
    "bytearray": (lambda: bytearray(3), lambda v: v.__setitem__(0, 1)),
    "memory of C": (lambda: (ctypes.c_double * 2)(), lambda v: v.__setitem__(0, 1.0)),
    "iterator of a list": (lambda: iter([1, 2]), next),
    "iterator of a range": (lambda: iter(range(3)), next),
    "enumeration": (lambda: enumerate([1, 2]), next),
    "generator": (turns, next),
    "count": (itertools.count, next),
    "slice of an iterator": (lambda: itertools.islice(itertools.repeat(1), 5), next),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_is_seen(name: str) -> None:
    make, change = CHANGES[name]
    value = make()
    before = trace_of(value)
    assert trace_of(value) == before
    change(value)
    assert trace_of(value) != before
