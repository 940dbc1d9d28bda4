"""The user's names, on the graph: of inputs, outputs, dynamic axes and weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from rr_export.capture.request import Request, dotted, output_name
from rr_export.errors import CaptureError


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


def signature_of(
    request: Request, program: torch.export.ExportedProgram, fixed: Mapping[tuple[str, int], str]
) -> Signature:
    """Returns the names of everything that goes in and out of ``program``.

    Args:
        request: what was captured.
        program: as torch.export made it.
        fixed: where the axes that turned out to be fixed were, by input and axis.

    Raises:
        CaptureError: an axis asked to be dynamic is not, or an output is no tensor.
    """
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    inputs: list[str] = []
    symbols: dict[str, str] = {}
    for path, argument in zip(_paths(program.call_spec.in_spec), _user_inputs(program), strict=True):
        if isinstance(argument, TensorArgument):
            name = request.input_name(path)
            inputs.append(name)
            for axis, size in enumerate(values[argument.name].shape):
                label = request.axes.get((name, axis))
                if label is not None and (not isinstance(size, torch.SymInt) or size.node.maybe_as_int()):
                    raise CaptureError(
                        f"{fixed.get((name, axis), 'the model')}: expected axis {axis} ({label!r}) of {name!r} to "
                        f"stay dynamic, got the fixed size {size}; compute with x.shape[{axis}] instead of a number"
                    )
                if label is not None:
                    symbols.setdefault(str(size), label)
    return Signature(tuple(inputs), _output_names(program, inputs), symbols)


def _paths(spec: Any) -> list[Any]:
    tree = pytree.tree_unflatten(range(spec.num_leaves), spec)
    try:
        return [path for path, _ in pytree.tree_leaves_with_path(tree)]
    except ValueError as error:  # a class that torch's pytree knows without the names of its parts
        raise CaptureError(
            f"capture: expected inputs and outputs whose parts have names, got {type(tree).__name__}, in which torch "
            "cannot name some; give and return tensors, tuples or dictionaries (diffusers: call the "
            "model with return_dict=False)"
        ) from error


def _user_inputs(program: torch.export.ExportedProgram) -> list[Any]:
    return [s.arg for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]


def _output_names(program: torch.export.ExportedProgram, inputs: list[str]) -> tuple[str, ...]:
    specs = program.graph_signature.output_specs
    written = [s for s in specs if s.kind is not OutputKind.USER_OUTPUT]
    if written:
        raise CaptureError(
            f"capture: expected a model that changes nothing, got one that writes {written[0].target!r} in place; "
            "compute a new value instead"
        )
    names: list[str] = []
    made = {node.name: node.meta.get("val") for node in program.graph.nodes}
    for path, spec in zip(_paths(program.call_spec.out_spec), specs, strict=True):
        name = dotted(path)
        if isinstance(spec.arg, TensorArgument):
            names.append(output_name(path, inputs))
            value = made.get(spec.arg.name)
            if isinstance(value, torch.Tensor) and value.is_complex():
                raise CaptureError(
                    f"output {names[-1]!r}: expected real numbers, got {value.dtype}, which ONNX Runtime does not "
                    "have; return torch.view_as_real(...) of it"
                )
        elif not isinstance(spec.arg, ConstantArgument) or spec.arg.value is not None:
            value = getattr(spec.arg, "value", spec.arg)
            raise CaptureError(
                f"capture: expected tensors as outputs of the model, got {type(value).__name__} {value!r} at "
                f"output {name!r}; return tensors only"
            )
    if not names:
        raise CaptureError("capture: expected tensors as outputs of the model, got none; return what it computes")
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


def name_weights(graph: ir.Model, program: torch.export.ExportedProgram, model: nn.Module) -> None:
    """A weight registered under several names carries the first; torch.export takes another."""
    first = {t.data_ptr(): n for n, t in (*model.named_parameters(), *model.named_buffers()) if t.numel()}
    for name, tensor in program.state_dict.items():
        wanted = first.get(tensor.data_ptr(), name)
        if name in graph.graph.initializers and wanted not in graph.graph.initializers:
            graph.graph.initializers[name].name = wanted
