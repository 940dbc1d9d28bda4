"""The user's names: of inputs, outputs and dynamic axes, from the call to the graph."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim
from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from rr_export.errors import CaptureError

Bounds = tuple[int | None, int | None]  # least and largest size of an axis; None: no bound


@dataclass(frozen=True)
class Signature:
    """Names of the tensors that go in and out, in graph order.

    Attributes:
        inputs: one name per tensor input.
        outputs: one name per tensor output.
        symbols: from the exporter's symbols (``s77``) to the user's names of dynamic axes (``batch``).
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    symbols: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        parameters: names of the positional arguments, in order.
        shapes: dynamic shapes as ``torch.export`` wants them, one entry per argument.
        axes: name of the dynamic axis by (input name, axis).
        dims: torch's object for each named axis.
    """

    parameters: tuple[str, ...]
    shapes: dict[str, Any] | None
    axes: Mapping[tuple[str, int], str]
    dims: Mapping[str, Any] = field(default_factory=dict)

    def bounds(self) -> dict[str, Bounds]:
        """Returns least and largest size of the axes that have any (None: no bound), by name."""
        found = {name: (dim.min if dim.min > 1 else None, _finite(dim.max)) for name, dim in self.dims.items()}
        return {name: pair for name, pair in found.items() if pair != (None, None)}

    def input_name(self, path: Any) -> str:
        """Returns the name of the input at this pytree path into (args, kwargs)."""
        if path[0].idx == 0:
            return ".".join(filter(None, (self.parameters[path[1].idx], dotted(path[2:]))))
        return dotted(path[1:])

    def resolve(self, program: torch.export.ExportedProgram, fixed: Mapping[tuple[str, int], str]) -> Signature:
        """Returns the names of everything that goes in and out of ``program``.

        Raises:
            CaptureError: an axis asked to be dynamic is not, or an output is no tensor.
        """
        values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
        inputs: list[str] = []
        symbols: dict[str, str] = {}
        for path, argument in zip(_paths(program.call_spec.in_spec), _user_inputs(program), strict=True):
            if isinstance(argument, TensorArgument):
                name = self.input_name(path)
                inputs.append(name)
                for axis, size in enumerate(values[argument.name].shape):
                    label = self.axes.get((name, axis))
                    if label is not None and (not isinstance(size, torch.SymInt) or size.node.maybe_as_int()):
                        raise CaptureError(
                            f"{fixed.get((name, axis), 'the model')}: expected axis {axis} ({label!r}) of {name!r} to "
                            f"stay dynamic, got the fixed size {size}; compute with x.shape[{axis}] instead of a number"
                        )
                    if label is not None:
                        symbols.setdefault(str(size), label)
        return Signature(tuple(inputs), _output_names(program, inputs), symbols)


def bind_request(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dynamic_shapes: Any,
    bounds: Mapping[str, Bounds] | None = None,
) -> Request:
    """Returns the request with every argument and dynamic axis under its name; ``bounds`` narrow axes by name.

    Raises:
        TypeError: the arguments do not fit ``model.forward``.
        ValueError: ``dynamic_shapes`` names arguments that are not there.
    """
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(
            f"export: expected arguments for forward{signature}, got a call with {error}; mend args"
        ) from error
    names: list[str] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{name}.{i}" for i in range(len(args) - len(names))]
        elif parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            names.append(name)
    if dynamic_shapes is None:
        return Request(tuple(names), None, {})
    if isinstance(dynamic_shapes, tuple | list):
        dynamic_shapes = dict(zip(bound, dynamic_shapes, strict=False))
    unknown = sorted(set(dynamic_shapes) - set(bound))
    if unknown:
        raise ValueError(f"dynamic_shapes: expected names among {list(bound)}, got {unknown}; name the arguments")
    axes: dict[tuple[str, int], str] = {}
    dims = _Dims(bounds or {})
    shapes = {
        name: _convert(dynamic_shapes.get(name), value, _prefix(signature, name), axes, dims)
        for name, value in bound.items()
    }
    return Request(tuple(names), shapes, axes, dims.known)


def _prefix(signature: inspect.Signature, name: str) -> str:
    return "" if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else name


class _Dims:
    """One ``Dim`` for every name, within the bounds that the model is known to need."""

    def __init__(self, bounds: Mapping[str, Bounds]) -> None:
        self.bounds, self.known = bounds, dict[str, Any]()

    def named(self, name: str) -> Any:
        if not name.isidentifier():
            raise ValueError(f"dynamic_shapes: expected names such as 'batch', got {name!r}; use letters and digits")
        if name not in self.known:
            least, most = self.bounds.get(name, (None, None))
            self.known[name] = Dim(name, min=least, max=most)
        return self.known[name]

    def given(self, dim: Any) -> Any:
        if dim.__name__ in self.bounds and type(dim) is Dim:
            return self.named(dim.__name__)
        if type(dim) is Dim:
            self.known.setdefault(dim.__name__, dim)
        return dim


def suggested_bounds(text: str) -> dict[str, Bounds]:
    """Returns the bounds of axes that torch.export asks for in an error; none if it asks for anything else."""
    lines = [
        line.strip() for line in text.partition("Suggested fixes:")[2].split("\n\n")[0].splitlines() if line.strip()
    ]
    found = [re.fullmatch(r"(\w+) = Dim\('\w+'(?:, min=(\d+))?(?:, max=(\d+))?\)", line) for line in lines]
    if not found or not all(found):
        return {}
    return {m[1]: (int(m[2]) if m[2] else None, int(m[3]) if m[3] else None) for m in found if m}


def _finite(size: Any) -> int | None:
    return int(size) if isinstance(size, int) and size < 2**31 else None


def _convert(spec: Any, value: Any, name: str, axes: dict[tuple[str, int], str], dims: _Dims) -> Any:
    """Turns names of axes into ``Dim`` objects, and writes down which axis of which input has which name."""
    if spec is None:
        return None
    if isinstance(value, torch.Tensor):
        if not isinstance(spec, Mapping | tuple | list):
            raise ValueError(
                f"dynamic_shapes: expected {{axis: name}} for {name!r}, got {spec!r}; such as {{0: 'batch'}}"
            )
        items = dict(spec) if isinstance(spec, Mapping) else dict(enumerate(spec))
        for axis, size in items.items():
            if not isinstance(axis, int) or not 0 <= axis < value.dim():
                raise ValueError(
                    f"dynamic_shapes: expected axes 0..{value.dim() - 1} for {name!r}, got {axis!r}; count from 0"
                )
            if isinstance(size, str):
                items[axis] = dims.named(size)
                axes[name, axis] = size
            elif size is Dim.DYNAMIC:
                axes[name, axis] = f"{name}_{axis}"
            elif isinstance(size, Dim):
                items[axis] = dims.given(size)
                axes[name, axis] = size.__name__
        return items
    if isinstance(value, Mapping):
        return {k: _convert(spec.get(k), v, _join(name, k), axes, dims) for k, v in value.items()}
    if isinstance(value, tuple | list):
        parts = [_convert(s, v, _join(name, i), axes, dims) for i, (s, v) in enumerate(zip(spec, value, strict=True))]
        return type(value)(parts) if type(value) in (tuple, list) else tuple(parts)
    return None


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def dotted(path: Any) -> str:
    """Returns a pytree path as text: keys, attributes and positions joined by dots."""
    parts = []
    for entry in path:
        for attribute in ("key", "idx", "name"):
            if hasattr(entry, attribute):
                parts.append(str(getattr(entry, attribute)))
                break
    return ".".join(parts)


def _paths(spec: Any) -> list[Any]:
    return [path for path, _ in pytree.tree_leaves_with_path(pytree.tree_unflatten(range(spec.num_leaves), spec))]


def _user_inputs(program: torch.export.ExportedProgram) -> list[Any]:
    return [s.arg for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]


def flat_inputs(request: Request, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns the tensors of a call as arrays under their input names."""
    leaves = pytree.tree_leaves_with_path((args, kwargs))
    return {request.input_name(path): _array(leaf) for path, leaf in leaves if isinstance(leaf, torch.Tensor)}


def flat_outputs(result: Any, inputs: Collection[str]) -> dict[str, NDArray[Any]]:
    """Returns the tensors that the model returned as arrays under their output names."""
    leaves = pytree.tree_leaves_with_path(result)
    return {output_name(path, inputs): _array(leaf) for path, leaf in leaves if isinstance(leaf, torch.Tensor)}


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


def _output_names(program: torch.export.ExportedProgram, inputs: list[str]) -> tuple[str, ...]:
    specs = program.graph_signature.output_specs
    written = [s for s in specs if s.kind is not OutputKind.USER_OUTPUT]
    if written:
        raise CaptureError(
            f"capture: expected a model that changes nothing, got one that writes {written[0].target!r} in place; "
            "compute a new value instead"
        )
    names: list[str] = []
    for path, spec in zip(_paths(program.call_spec.out_spec), specs, strict=True):
        name = dotted(path)
        if isinstance(spec.arg, TensorArgument):
            names.append(output_name(path, inputs))
        elif not isinstance(spec.arg, ConstantArgument) or spec.arg.value is not None:
            value = getattr(spec.arg, "value", spec.arg)
            raise CaptureError(
                f"capture: expected tensors as outputs of the model, got {type(value).__name__} {value!r} at "
                f"output {name!r}; return tensors only"
            )
    twice = sorted({n for n in (*inputs, *names) if [*inputs, *names].count(n) > 1})
    if twice:
        raise CaptureError(
            f"capture: expected different names of inputs and outputs, got {twice[0]!r} twice; rename one"
        )
    return tuple(names)


def name_graph(model: ir.Model, signature: Signature) -> None:
    """Inputs, outputs and dynamic axes of ``model`` carry the user's names now."""
    reserved = {*signature.inputs, *signature.outputs}
    for value in _values(model.graph):
        if value.name in reserved:
            value.name = f"{value.name}_"
        if value.shape is not None:
            value.shape = ir.Shape([_renamed(dim, signature.symbols) for dim in value.shape])
    for value, name in zip(model.graph.inputs, signature.inputs, strict=True):
        value.name = name
    for position, (value, name) in enumerate(zip(list(model.graph.outputs), signature.outputs, strict=True)):
        if value.producer() is None or value in list(model.graph.outputs)[:position]:
            identity = ir.node("Identity", [value])
            model.graph.append(identity)
            identity.outputs[0].type, identity.outputs[0].shape = value.type, value.shape
            value = model.graph.outputs[position] = identity.outputs[0]
        value.name = name


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.initializers.values(), *(o for node in graph for o in node.outputs)]


def _renamed(dim: Any, symbols: Mapping[str, str]) -> Any:
    if isinstance(dim, int):
        return dim
    return (
        re.sub(r"\b[a-z]+\d+\b", lambda m: symbols.get(m[0], m[0]), str(dim.value)) if dim.value is not None else None
    )
