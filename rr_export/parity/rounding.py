"""Which differences are rounding: those that the model itself shows where its input changes by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.subject import Answer, Reference

ROUNDING = 4.0  # a difference of at most so many times what that changes says nothing


def rounding(reference: Reference, expected: Answer, got: Answer, path: Path_) -> Callable[[], bool]:
    """Returns what tells whether two answers differ by rounding alone, which takes a few runs of the model.

    Args:
        reference: what gave the first one; where its input cannot be moved, nothing is told apart.
        expected: its outputs.
        got: those of what is compared with it.
        path: on which both ran.
    """

    def differ_by_rounding() -> bool:
        if list(expected.outputs) != list(got.outputs):
            return False
        changes = dict.fromkeys(expected.outputs, 0.0)
        way = -1
        for way, moved in enumerate(reference.moved(path)):
            for name, array in expected.outputs.items():
                other = moved.outputs.get(name)
                if other is None or array.shape != other.shape:
                    return False
                changes[name] = max(changes[name], _distance(array, other))
            if way == 0 and any(changes.values()):
                return False  # it differs for another reason: other draws of the same routes
        return way >= 0 and all(
            array.shape == got.outputs[name].shape
            and array.dtype == got.outputs[name].dtype
            and _distance(array, got.outputs[name]) <= ROUNDING * changes[name]
            for name, array in expected.outputs.items()
        )

    return differ_by_rounding


def _distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of two arrays; infinite where they have no numbers at the same places."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    return float(np.abs(a[finite] - b[finite]).max()) if finite.any() else 0.0
