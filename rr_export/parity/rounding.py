"""Which differences are rounding: those that the model itself shows where its input changes by rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rr_export.errors import RunError
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.subject import Answer, Eager, Reference

NOISE = 8.0  # steps of its type by which a number is moved, to see how much of a difference is rounding
ROUNDING = 4.0  # a difference of at most so many times what that changes says nothing
_MIXED = 2  # ways of moving some numbers up and others down, beside all up and all down


def rounding(reference: Reference, expected: Answer, got: Answer, path: Path_) -> Callable[[], bool]:
    """Returns what tells whether two answers differ by rounding alone, which takes a few runs of the model.

    Args:
        reference: what gave the first one; where it is a file, nothing is told apart.
        expected: its outputs.
        got: those of what is compared with it.
        path: on which both ran.
    """

    def differ_by_rounding() -> bool:
        if not isinstance(reference, Eager) or list(expected.outputs) != list(got.outputs):
            return False
        changes = dict.fromkeys(expected.outputs, 0.0)
        for way, moved in enumerate(_moved(reference, path)):
            for name, array in expected.outputs.items():
                other = moved.outputs.get(name)
                if other is None or array.shape != other.shape:
                    return False
                changes[name] = max(changes[name], _distance(array, other))
            if way == 0 and any(changes.values()):
                return False  # it differs for another reason: other draws of the same routes
        return all(
            array.shape == got.outputs[name].shape
            and array.dtype == got.outputs[name].dtype
            and _distance(array, got.outputs[name]) <= ROUNDING * changes[name]
            for name, array in expected.outputs.items()
        )

    return differ_by_rounding


def _moved(eager: Eager, path: Path_) -> Iterator[Answer]:
    """What the model gives as it is, and where its input is moved by a few steps of its type, in several ways."""
    yield eager.on_path(path)
    for way in range(_MIXED + 2):
        random = torch.Generator().manual_seed(way)

        def move(name: str, tensor: torch.Tensor, way: int = way, random: torch.Generator = random) -> torch.Tensor:
            if not tensor.is_floating_point():
                return tensor
            signs = torch.randint(0, 2, tensor.shape, generator=random) * 2 - 1
            signs = signs if way < _MIXED else torch.full_like(signs, (-1) ** way)
            return tensor * (1 + NOISE * torch.finfo(tensor.dtype).eps * signs).to(tensor.dtype)

        try:
            yield Eager(eager.request.changed(move)).on_path(path)
        except RunError:  # it decides otherwise there
            continue


def _distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of two arrays; infinite where they have no numbers at the same places."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    return float(np.abs(a[finite] - b[finite]).max()) if finite.any() else 0.0
