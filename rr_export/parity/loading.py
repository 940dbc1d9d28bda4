"""What export makes sure of for every model: ONNX Runtime loads the file, and has a kernel for each of its nodes."""

from __future__ import annotations

import re

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
        node = _named_last(model, reason)
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


def _types(node: ir.Node) -> set[ir.DataType | None]:
    return {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}
