"""What export makes sure of for every model: ONNX Runtime loads the file, and has a kernel for each of its nodes."""

from __future__ import annotations

import re
from typing import Any

import onnx
import onnx_ir as ir
import onnxruntime

from rr_export.capture.origins import origin_of
from rr_export.errors import CaptureError
from rr_export.parity.executed import LEVELS, proving_options

LARGE = 1024  # elements; larger weights are left out, as nothing but their type matters here
_WHERE = re.compile(r"\[ONNXRuntimeError\][^:]*:[^:]*:[^:]*:\s*|Load model from.*?failed:\s*")


def check_loads(model: ir.Model) -> None:
    """ONNX Runtime loads the model.

    Raises:
        CaptureError: it does not; the text names the operator, the module and the line that it comes from.
    """
    content = ir.to_proto(_without_weights(model)).SerializeToString()
    try:
        onnxruntime.InferenceSession(content, proving_options(LEVELS["disabled"]), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common base
        reason = _WHERE.sub("", str(error)).strip().splitlines()[0]
        node = _named_last(model, reason) or _not_loading_alone(model)
        what = "one that it does not" if node is None else f"{node.op_type} of {origin_of(node)}"
        do = "write that line with other operators"
        if "bfloat16" in reason or (node is not None and ir.DataType.BFLOAT16 in _types(node)):
            what, do = f"{what} in bfloat16", "compute it in float32: model.float(), and no autocast to bfloat16"
        raise CaptureError(
            f"export: expected a graph that onnxruntime {onnxruntime.__version__} loads on the CPU, got {what} "
            f"({reason.rstrip('. ')}); {do}"
        ) from error


def _without_weights(model: ir.Model) -> ir.Model:
    """A copy in which large weights are inputs: it has no bytes to write and to read."""
    copy = model.clone()
    for graph in list(copy.graphs()):
        for name, value in list(graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or tensor.size < LARGE or value.is_graph_output():
                continue
            del graph.initializers[name]
            value.const_value, value.type, value.shape = (
                None,
                ir.TensorType(tensor.dtype),
                ir.Shape(tensor.shape.numpy()),
            )
            if value not in copy.graph.inputs:
                copy.graph.inputs.append(value)
    return copy


def _named_last(model: ir.Model, reason: str) -> ir.Node | None:
    """The node that a message of ONNX Runtime names last: those before it are around it."""
    found = [
        (max(reason.rfind(f"({node.name})"), reason.rfind(f"'{node.name}'")), node)
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        if node.name
    ]
    place, node = max(found, key=lambda pair: pair[0], default=(-1, None))
    return node if place >= 0 else None


def _not_loading_alone(model: ir.Model) -> ir.Node | None:
    """The first node of an operator that the standard defines by others, and that ONNX Runtime does not load alone.

    What ONNX Runtime says of the operators in its place has no name.
    """
    known: dict[tuple[Any, ...], bool] = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain or not _is_defined_by_others(node.op_type, model.opset_imports[""]):
            continue
        key = (node.op_type, *(value and value.dtype for value in node.inputs))
        if key not in known:
            known[key] = _loads_alone(node, model)
        if not known[key]:
            return node
    return None


def _is_defined_by_others(op_type: str, opset: int) -> bool:
    if not onnx.defs.has(op_type, opset, ""):
        return False
    schema: Any = onnx.defs.get_schema(op_type, opset, "")
    return bool(schema.has_function or schema.has_context_dependent_function)


def _loads_alone(node: ir.Node, model: ir.Model) -> bool:
    given = [value and ir.Value(name=f"x{i}", type=value.type) for i, value in enumerate(node.inputs)]
    made = [ir.Value(name=f"y{i}", type=value.type) for i, value in enumerate(node.outputs)]
    alone = ir.Node("", node.op_type, given, list(node.attributes.values()), outputs=made, name="alone")
    inputs = [value for value in given if value is not None]
    graph = ir.Graph(inputs, made, nodes=[alone], opset_imports={"": model.opset_imports[""]}, name="alone")
    content = ir.to_proto(ir.Model(graph, ir_version=model.ir_version)).SerializeToString()
    try:
        onnxruntime.InferenceSession(content, proving_options(LEVELS["disabled"]), providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's own exceptions have no common base
        return False
    return True


def _types(node: ir.Node) -> set[ir.DataType | None]:
    return {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}
