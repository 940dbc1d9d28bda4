"""What users have as inputs, for proofs without the model: arrays by the names of the file's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.parity.compare import Arrays
from rr_runtime.arguments import check_inputs
from rr_runtime.manifest import Manifest


def checked_arrays(data: Iterable[Any], bundle: Bundle) -> Iterator[Arrays]:
    """Yields each of some inputs as arrays by name.

    Raises:
        TypeError, ValueError: one is no mapping, or has other names, dtypes or sizes than the bundle's inputs; the text
            says which.
    """
    told = Manifest.parse(bundle.manifest)
    for number, item in enumerate(data):
        try:
            yield check_inputs(item, told.inputs, told.axes)
        except (TypeError, ValueError) as error:
            raise type(error)(f"data, input {number}: {error}") from error
