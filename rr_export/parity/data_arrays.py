"""What users have as inputs, for proofs without the model: arrays by the names of the file's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rr_export.bundle.bundle import Bundle
from rr_export.parity.compare import Arrays
from rr_runtime.arguments import check_inputs
from rr_runtime.manifest import Manifest


def checked_arrays(data: Iterable[Any], bundle: Bundle) -> Iterator[Arrays]:
    """Yields each of some inputs as arrays by name.

    Raises:
        TypeError, ValueError: one is no mapping, or has other names, dtypes or sizes than the bundle's inputs, or holds
            nothing; the text says which.
    """
    told = Manifest.parse(bundle.manifest)
    for number, item in enumerate(data):
        try:
            arrays = check_inputs(item, told.inputs, told.axes)
            check_filled(arrays, told)
        except (TypeError, ValueError) as error:
            raise type(error)(f"data, input {number}: {error}") from error
        # a generator may fill one buffer again and again
        yield {name: array.copy() for name, array in arrays.items()}


def check_dtypes(arrays: Arrays, told: Manifest) -> None:
    """Raises a TypeError where an input is of another dtype than the file takes: it would be compared with nothing."""
    for tensor in told.inputs:
        found = arrays[tensor.name].dtype
        if found != np.dtype(tensor.dtype):
            raise TypeError(f"input {tensor.name!r}: expected {tensor.dtype}, got {found}; convert it")


def check_filled(arrays: Arrays, told: Manifest) -> None:
    """Raises a ValueError where an axis of an input is 0 long and the model does not say that it may be."""
    for tensor in told.inputs:
        shape = arrays[tensor.name].shape
        may_be = {axis for axis, size in enumerate(tensor.shape) if size == 0 or told.axes.get(str(size), (1,))[0] == 0}
        if {axis for axis, size in enumerate(shape) if size == 0} - may_be:
            raise ValueError(
                f"input {tensor.name!r}: expected at least one number, got the shape {shape}, on which nothing is "
                "compared; leave it out"
            )
