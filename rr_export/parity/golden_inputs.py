"""What ``golden=`` asks for: how many runs are recorded, and on which inputs."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from rr_export.capture.request import Request, bind
from rr_export.parity.eager_model import Eager
from rr_export.parity.subject import Reference
from rr_runtime.arguments import check_inputs
from rr_runtime.manifest import Manifest

GoldenAsked = int | Iterable[tuple[Any, ...] | Mapping[str, Any]] | None


@dataclass(frozen=True)
class Golden:
    """The runs to record.

    Attributes:
        models: the model with each of its inputs, at least one.
        count: how many runs; None: as many as take every branch.
        given: whether the inputs are the user's, beside the example.
    """

    models: Sequence[Reference]
    count: int | None = None
    given: bool = False

    def reason(self, which: int) -> str:
        """Returns what a run's reason says of its inputs."""
        return f", your input {which + 1}" if self.given else ""


def golden_requests(golden: GoldenAsked, request: Request) -> tuple[list[Request], int | None]:
    """Returns the example with each of the asked inputs in its place, and how many runs are asked for.

    Args:
        golden: how many runs, or inputs, or None.
        request: the model with its example.

    Raises:
        TypeError: it is neither a number nor inputs.
        ValueError: an input is not like the example, or there is none.
    """
    if golden is None:
        return [], None
    if isinstance(golden, bool | str | bytes | Mapping | torch.Tensor | np.ndarray):
        raise TypeError(
            f"golden: expected how many runs, or a list of inputs, got {type(golden).__name__}; write golden=[(x,), "
            "(y,)] or golden=[{'x': x}]"
        )
    if not isinstance(golden, Iterable):
        try:
            count = operator.index(golden)
        except TypeError:
            raise TypeError(
                f"golden: expected how many runs, or a list of inputs, got {type(golden).__name__}; pass one of them"
            ) from None
        if count < 0:
            raise ValueError(f"golden: expected at least 0 runs, got {count}; pass how many")
        return [], count
    found = [_like(request, item, f"golden: your input {number}") for number, item in enumerate(golden, 1)]
    if not found:
        raise ValueError("golden: expected at least one input, got none; leave it away, or pass golden=0 for no runs")
    return found, None


def golden_of(eager: Eager, requests: Sequence[Request], count: int | None) -> Golden:
    """Returns the runs to record: on the example where there are no other inputs."""
    return Golden([Eager(request) for request in requests] or [eager], count, bool(requests))


def check_golden_inputs(golden: Golden, manifest: Mapping[str, Any]) -> None:
    """The file takes all of the user's inputs.

    Raises:
        TypeError, ValueError: it does not take one of them.
    """
    told = Manifest.parse(manifest)
    for which, model in enumerate(golden.models if golden.given else ()):
        try:
            check_inputs(model.inputs, told.inputs, told.axes)
        except (TypeError, ValueError) as error:
            raise type(error)(f"golden: your input {which + 1}: {error}") from error


def _like(request: Request, item: Any, where: str) -> Request:
    """The example with other inputs: positional arguments as a tuple, or arguments or inputs by name."""
    if isinstance(item, Mapping) and item.keys() <= request.inputs.keys():
        given = {name: torch.as_tensor(value) for name, value in item.items()}
        made = request.changed(lambda name, tensor: given.get(name, tensor))
    elif isinstance(item, Mapping):
        unknown = sorted(map(str, item.keys() - request.arguments.keys()))
        if unknown:
            known = ", ".join(dict.fromkeys([*request.arguments, *request.inputs]))
            raise ValueError(f"{where}: expected arguments among {known}, got {', '.join(unknown)}; mend the names")
        args = tuple(item.get(n, a) for n, a in zip(request.parameters, request.args, strict=True))
        made = bind(request.model, args, {n: item.get(n, a) for n, a in request.kwargs.items()})
    elif isinstance(item, tuple):
        if len(item) != len(request.args):
            raise ValueError(
                f"{where}: expected {len(request.args)} positional arguments as in the example, got {len(item)}; pass "
                "those, or a dictionary by name"
            )
        made = bind(request.model, item, request.kwargs)
    else:
        raise TypeError(
            f"{where}: expected a tuple of arguments or a dictionary by name, got {type(item).__name__}; write (x,)"
        )
    _check_alike(request, made, where)
    return made.changed(lambda _, tensor: tensor.clone())  # a generator may fill one buffer again and again


def _check_alike(request: Request, made: Request, where: str) -> None:
    """Raises where the other inputs differ from the example in more than their values and dynamic sizes."""
    old, structure = pytree.tree_flatten((request.args, request.kwargs))
    new, found = pytree.tree_flatten((made.args, made.kwargs))
    if found != structure:
        raise ValueError(f"{where}: expected the structure of the example, got another one; pass arguments like it")
    for one, other in zip(old, new, strict=True):
        if isinstance(one, torch.Tensor) != isinstance(other, torch.Tensor):
            raise ValueError(f"{where}: expected tensors where the example has some, got {other!r}; pass tensors")
        if not isinstance(one, torch.Tensor) and one is not other and not np.all(one == other):
            raise ValueError(
                f"{where}: expected {one!r}, which is part of the exported model, got {other!r}; only tensors may "
                "differ from the example"
            )
    for name, array in request.inputs.items():
        shape, other = array.shape, made.inputs[name]
        fits = len(shape) == other.ndim and all(
            size == other.shape[axis] or (name, axis) in request.axes for axis, size in enumerate(shape)
        )
        if other.dtype != array.dtype or not fits:
            raise ValueError(
                f"{where}: input {name!r}: expected {array.dtype} {list(shape)}, other sizes on dynamic axes only, "
                f"got {other.dtype} {list(other.shape)}; convert it, or name the axis in dynamic_shapes"
            )
