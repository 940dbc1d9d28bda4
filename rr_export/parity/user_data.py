"""What users have as inputs: the model's arguments, made of whatever a loader or a file gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from rr_export.capture.request import Request, bind
from rr_export.parity.data_arrays import check_dtypes, check_filled
from rr_runtime.manifest import Manifest

Data = Iterable[Any]


def requests_of(data: Data, example: Request, manifest: Mapping[str, Any] | None = None) -> Iterator[Request]:
    """Yields the model with each of some inputs, which nobody else holds.

    Args:
        data: each item is a tuple of positional arguments, ``(args, kwargs)``, a mapping of arrays by the names of the
            file's inputs or of keyword arguments by name, or a single tensor or array.
        example: the model with its example arguments.
        manifest: of the file whose inputs they are, too; None: of none.

    Raises:
        TypeError, ValueError: an item is none of that, does not fit ``model.forward``, has other dtypes than the file's
            inputs, or holds nothing; the text says which.
    """
    told = None if manifest is None else Manifest.parse(manifest)
    for number, item in enumerate(data):
        try:
            request = _request(item, example)
            if told is not None:
                check_dtypes(request.inputs, told)
                check_filled(request.inputs, told)
        except (TypeError, ValueError) as error:
            raise type(error)(f"data, input {number}: {error}") from error
        yield request.changed(lambda _, tensor: tensor.clone())  # a loader may fill one buffer again and again


def _request(item: Any, example: Request) -> Request:
    if isinstance(item, Mapping) and item.keys() == example.inputs.keys():
        return example.changed(lambda name, tensor: _tensor(item[name]))
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(item, Mapping):
        kwargs = dict(item)
    elif isinstance(item, tuple | list) and len(item) == 2 and _are_arguments(*item):
        args, kwargs = tuple(item[0]), dict(item[1])
    elif isinstance(item, tuple | list):
        args = tuple(item)
    elif isinstance(item, torch.Tensor | np.ndarray):
        args = (item,)
    else:
        raise TypeError(
            "expected a tuple of arguments, (args, kwargs), a mapping by name, or a tensor, got "
            f"{type(item).__name__}; make one of it"
        )
    args = tuple(map(as_tensor, args))
    request = bind(example.model, args, {name: as_tensor(value) for name, value in kwargs.items()})
    if request.inputs.keys() != example.inputs.keys():
        raise ValueError(
            f"expected the inputs {list(example.inputs)}, got {list(request.inputs)}; give the arguments of the example"
        )
    return request


def _are_arguments(args: Any, kwargs: Any) -> bool:
    return isinstance(args, tuple | list) and isinstance(kwargs, Mapping)


def as_tensor(value: Any) -> Any:
    """Returns an array as a tensor that nobody else holds, and anything else as it is."""
    return _tensor(value) if isinstance(value, np.ndarray) else value


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
