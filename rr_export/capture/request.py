"""The request: a model and its arguments, bound once under the user's names, as everything after is handed them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import ml_dtypes
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim
from torch.utils import _pytree as pytree

from rr_export.capture.dynamic_axes import Bounds, Dims, bounds_of, named_axes
from rr_export.capture.inference_mode import outside_inference_mode
from rr_export.capture.uncompiled import uncompiled
from rr_export.eager.reported_gates import reported_gates


@dataclass(frozen=True, eq=False)
class Request:
    """What the user asked for.

    Attributes:
        model: the model.
        args: positional arguments of its forward.
        kwargs: keyword arguments.
        parameters: names of the positional arguments, in order.
        arguments: what each parameter of the forward got, by its name.
        spread: the name of the forward's ``**kwargs``, if it has any.
        dynamic_shapes: as the user gave them, by parameter; None: every axis is fixed.
        shapes: the same as ``torch.export`` wants them.
        axes: name of the dynamic axis by (input name, axis).
        dims: torch's object for each named axis.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    parameters: tuple[str, ...]
    arguments: Mapping[str, Any]
    spread: str | None = None
    dynamic_shapes: Mapping[str, Any] | None = None
    shapes: dict[str, Any] | None = None
    axes: Mapping[tuple[str, int], str] = field(default_factory=dict)
    dims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bounds(self) -> dict[str, Bounds]:
        """Least and largest size of the axes that have any (None: no bound), by name."""
        return bounds_of(self.dims)

    @cached_property
    def inputs(self) -> dict[str, NDArray[Any]]:
        """The tensors among the arguments, as arrays under their input names."""
        return {name: _array(leaf) for name, leaf in self.tensors(self.args, self.kwargs)}

    def tensors(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
        """Returns the tensors among arguments like these, with their input names."""
        leaves = pytree.tree_leaves_with_path((args, kwargs))
        return [(self.input_name(path), leaf) for path, leaf in leaves if isinstance(leaf, torch.Tensor)]

    def input_name(self, path: Any) -> str:
        """Returns the name of the input at this pytree path into (args, kwargs)."""
        if path[0].idx == 0:
            return ".".join(filter(None, (self.parameters[path[1].idx], dotted(path[2:]))))
        return dotted(path[1:])

    def call(self) -> Any:
        """Returns what the model returns."""
        with uncompiled():
            return self.model(*self.args, **self.kwargs)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Returns the tensors that the model returns, as arrays under their output names."""
        with torch.no_grad(), self.kept(), reported_gates(self.model) as told:
            return self.named(self.call()) | told()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """After the block the arguments hold what they held, whatever the model wrote into them."""
        tensors = [(t, t._version, t.detach().clone()) for _, t in self.tensors(self.args, self.kwargs)]
        try:
            yield
        finally:
            for tensor, version, content in tensors:
                if tensor._version != version:
                    with torch.no_grad():
                        tensor.copy_(content)

    def named(self, result: Any) -> dict[str, NDArray[Any]]:
        """Returns the tensors of what the model returned, as arrays under their output names."""
        leaves = pytree.tree_leaves_with_path(result)
        return {output_name(path, self.inputs): _array(leaf) for path, leaf in leaves if isinstance(leaf, torch.Tensor)}

    def within(self, bounds: Mapping[str, Bounds]) -> Request:
        """Returns the request with dynamic axes that have these bounds, by name."""
        if self.dynamic_shapes is None:
            return self
        axes: dict[tuple[str, int], str] = {}
        dims = Dims(bounds)
        shapes = {
            name: named_axes(self.dynamic_shapes.get(name), value, "" if name == self.spread else name, axes, dims)
            for name, value in self.arguments.items()
        }
        return replace(self, shapes=shapes, axes=axes, dims=dims.known)

    def with_axes_of(self, manifest: Mapping[str, Any]) -> Request:
        """Returns the request with the dynamic axes that a file has; a size computed from others is one of its own."""
        sizes = {row["name"]: row["shape"] for row in manifest["inputs"]}

        def labels(path: Any, leaf: Any, root: str) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return None
            name = ".".join(filter(None, (root, dotted(path))))
            named = {i: s for i, s in enumerate(sizes.get(name, ())) if isinstance(s, str)}
            return {i: s if s.isidentifier() else Dim.AUTO for i, s in named.items()}

        shapes = {
            parameter: pytree.tree_map_with_path(
                functools.partial(labels, root="" if parameter == self.spread else parameter), value
            )
            for parameter, value in self.arguments.items()
        }
        limits = {name: (least, most) for name, (least, most) in manifest.get("axes", {}).items()}
        return replace(self, dynamic_shapes=shapes).within(limits)

    def changed(self, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Request:
        """Returns the request with other tensors, all axes fixed: what ``change`` makes of each, by its input name."""

        def one(path: Any, leaf: Any) -> Any:
            return change(self.input_name(path), leaf) if isinstance(leaf, torch.Tensor) else leaf

        args, kwargs = pytree.tree_map_with_path(one, (self.args, self.kwargs))
        return Request(self.model, args, kwargs, self.parameters, {})


def bind(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, dynamic_shapes: Any = None
) -> Request:
    """Returns the request with every argument and dynamic axis under its name.

    Args:
        model: the model.
        args: positional arguments of its forward.
        kwargs: keyword arguments.
        dynamic_shapes: as for :func:`rr_export.export`.

    Raises:
        TypeError: the arguments do not fit ``model.forward``.
        ValueError: ``dynamic_shapes`` names arguments that are not there.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"export: expected a torch.nn.Module, got {type(model).__name__}; wrap it in a module")
    if not isinstance(args, tuple):
        raise TypeError(f"export: expected args to be a tuple, got {type(args).__name__}; write (x,) for one input")
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"export: expected kwargs to be a dict, got {type(kwargs).__name__}; write {{'x': x}}")
    named: dict[str, Any]
    args, named = outside_inference_mode((args, dict(kwargs or {})))
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(*args, **named).arguments
    except TypeError as error:
        raise TypeError(
            f"export: expected arguments for forward{signature}, got a call with {error}; mend args"
        ) from error
    names: list[str] = []
    spread = None
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            if name in named:  # torch.export calls the two alike
                raise ValueError(
                    f"export: expected keywords other than {name!r}, which are the positional arguments of "
                    f"forward{signature}, got {sorted(named)}; export a module whose forward names its arguments"
                )
            names += [f"{name}.{i}" for i in range(len(args) - len(names))]
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            spread = name
        elif parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            names.append(name)
    if isinstance(dynamic_shapes, tuple | list):
        if len(dynamic_shapes) > len(bound):
            raise ValueError(
                f"dynamic_shapes: expected one entry for each of {list(bound)}, got {len(dynamic_shapes)}; name the "
                "arguments"
            )
        dynamic_shapes = dict(zip(bound, dynamic_shapes, strict=False))  # of the last ones every axis is fixed
    if not isinstance(dynamic_shapes, Mapping | None):
        raise ValueError(
            f"dynamic_shapes: expected {{argument: {{axis: name}}}}, got {dynamic_shapes!r}; such as "
            "{'x': {0: 'batch'}}"
        )
    unknown = sorted(set(dynamic_shapes or {}) - set(bound))
    if unknown:
        raise ValueError(f"dynamic_shapes: expected names among {list(bound)}, got {unknown}; name the arguments")
    return Request(model, args, named, tuple(names), bound, spread, dynamic_shapes).within({})


def dotted(path: Any) -> str:
    """Returns a pytree path as text: keys, attributes and positions joined by dots."""
    parts = []
    for entry in path:
        for attribute in ("key", "idx", "name"):
            if hasattr(entry, attribute):
                parts.append(str(getattr(entry, attribute)))
                break
    return ".".join(parts)


def output_name(path: Any, inputs: Collection[str]) -> str:
    """Returns the pytree path of an output; ``output`` alone or in front where the path is no name by itself."""
    name = dotted(path)
    plain = name and not name[0].isdigit() and name not in inputs
    name = name if plain else ".".join(filter(None, ("output", name)))
    while name in inputs:
        name += "_"
    return name


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy().copy()
