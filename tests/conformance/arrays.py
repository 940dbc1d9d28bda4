"""Arrays as JSON that any language reads without loss: ``{"dtype": ..., "shape": [...], "data": [...]}``, row by row.

Floats are the exact values as decimals of a float64, which float16 and float32 are part of. Whole numbers stay below
2^53, as many JSON parsers read every number as a float64. NaN and infinities have no JSON and are refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**53


def to_json(array: NDArray[Any]) -> dict[str, Any]:
    """Returns the array, JSON-ready.

    Raises:
        ValueError: a number has no exact JSON.
    """
    if array.dtype.kind == "f":
        data: list[Any] = array.astype(np.float64).ravel().tolist()
        wrong = [x for x in data if not math.isfinite(x)]
    else:
        data = array.ravel().tolist()
        wrong = [x for x in data if abs(x) > LARGEST]
    if wrong:
        raise ValueError(f"array: expected numbers that JSON holds exactly, got {wrong[0]}; choose other inputs")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def from_json(data: dict[str, Any]) -> NDArray[Any]:
    """Returns the array that was written so.

    Raises:
        ValueError: numbers of another count than the shape says, or that the dtype does not hold.
    """
    read = np.array(data["data"], np.float64 if data["dtype"].startswith("float") else None)
    array = read.astype(data["dtype"]).reshape(data["shape"])
    if not np.array_equal(array.ravel().astype(read.dtype), read):
        raise ValueError(f"array: expected numbers that {data['dtype']} holds, got others; make the case again")
    return array


def all_to_json(arrays: Any) -> dict[str, Any]:
    """Returns a mapping of names to arrays, JSON-ready."""
    return {name: to_json(np.asarray(array)) for name, array in arrays.items()}


def all_from_json(data: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns the arrays by name."""
    return {name: from_json(row) for name, row in data.items()}
