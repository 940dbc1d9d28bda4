"""Which differences are rounding: those that the model itself shows where its input changes by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.subject import Answer, Reference

ROUNDING = 4.0  # a difference of at most so many times what that changes says nothing
MOST = 90  # per cent of an output's numbers, by which it is seen how much they change in general


def rounding(reference: Reference, expected: Answer, got: Answer, path: Path_) -> Callable[[], bool]:
    """Returns what tells whether two answers differ by rounding alone, which takes a few runs of the model.

    Every number of an output may differ by a few times what its own moves change it, or those of most numbers of that
    output: one number that a move throws far off, as it lies on a step of the model, excuses no other.

    Args:
        reference: what gave the first one; where its input cannot be moved, nothing is told apart.
        expected: its outputs.
        got: those of what is compared with it.
        path: on which both ran.
    """

    def differ_by_rounding() -> bool:
        if list(expected.outputs) != list(got.outputs):
            return False
        changes = {name: np.zeros(array.shape) for name, array in expected.outputs.items()}
        way = -1
        for way, moved in enumerate(reference.moved(path)):
            for name, array in expected.outputs.items():
                other = moved.outputs.get(name)
                if other is None or array.shape != other.shape:
                    return False
                changes[name] = np.maximum(changes[name], _distances(array, other))
            if way == 0 and any(change.any() for change in changes.values()):
                return False  # it differs for another reason: other draws of the same routes
        return way >= 0 and all(
            array.shape == got.outputs[name].shape
            and array.dtype == got.outputs[name].dtype
            and bool((_distances(array, got.outputs[name]) <= ROUNDING * _allowed(changes[name])).all())
            for name, array in expected.outputs.items()
        )

    return differ_by_rounding


def _allowed(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each number changes, at least as much as most of those that stay finite do."""
    finite = changes[np.isfinite(changes)]
    return np.maximum(changes, np.percentile(finite, MOST) if finite.size else 0.0)


def _distances(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """The differences of two arrays, float64; infinite where only one of them is a number, or infinities differ."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
