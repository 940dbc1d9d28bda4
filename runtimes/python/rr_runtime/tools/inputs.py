"""What is timed: the inputs of a bundle's first golden case, at the sizes that its targets fix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.array_files import stored_arrays
from rr_runtime.bundle import GOLDEN, Bundle
from rr_runtime.errors import BundleError
from rr_runtime.target import Target


def timed_inputs(bundle: Bundle, targets: Iterable[Target | None] = ()) -> dict[str, NDArray[Any]]:
    """Returns the inputs of the first golden case; where targets fix an axis, it is cut, or repeated, to that size.

    Raises:
        BundleError: the bundle has no golden cases.
        ValueError: two of the targets fix an axis at different sizes.
    """
    if not bundle.manifest.golden or not bundle.path.is_dir():
        raise BundleError(
            f"{bundle.path}: expected a bundle folder with golden cases, whose inputs are timed, got "
            f"{'a folder' if bundle.path.is_dir() else 'a single file'} without; save the exported model to a folder "
            "and measure that"
        )
    sizes: dict[str, int] = {}
    for target in filter(None, targets):
        for axis, size in target.sizes.items():
            if sizes.setdefault(axis, size) != size:
                raise ValueError(
                    f"targets: expected one size of axis {axis!r}, got {sizes[axis]} and {size}; "
                    "measure these targets one at a time"
                )
    try:
        arrays = stored_arrays(bundle.path / GOLDEN)
        found = {tensor.name: arrays[f"0/input/{tensor.name}"] for tensor in bundle.manifest.inputs}
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise BundleError(
            f"{bundle.path / GOLDEN}: expected the inputs of golden case 0, got {type(error).__name__}: {error}; "
            "export again"
        ) from error
    return {t.name: _fit(found[t.name], t.shape, sizes) for t in bundle.manifest.inputs}


def _fit(array: NDArray[Any], shape: tuple[int | str, ...], sizes: Mapping[str, int]) -> NDArray[Any]:
    """The array with every fixed axis at its size."""
    for axis, name in enumerate(shape):
        if isinstance(name, str) and name in sizes:
            array = np.take(array, np.arange(sizes[name]) % array.shape[axis], axis=axis)
    return np.ascontiguousarray(array)
