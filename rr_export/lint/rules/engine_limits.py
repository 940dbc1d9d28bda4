"""Rules about engines other than ONNX Runtime: RR501 and RR502."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from rr_export.lint.dataflow import Dataflow, node_name
from rr_export.lint.finding import Finding
from rr_export.lint.reading import Subject

WIDE = (ir.DataType.INT64, ir.DataType.UINT64)
MIXING = frozenset({"BitShift", "BitwiseXor", "BitwiseAnd", "BitwiseOr", "BitwiseNot"})


def _check_onnxruntime(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Everything that is known about it is in the other rules."""
    yield from ()


def _check_openvino(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    for node in flow.random:
        text = f"{node.op_type} under OpenVINO"
        yield subject.finding("RR502", text, node=node_name(node), place=flow.place_name(node))
    deciding = flow.claimed({decision.value: decision for decision in flow.decisions})
    for node in flow.nodes():
        value = node.outputs[0] if node.outputs else None
        if node.op_type in MIXING and value in deciding and value is not None and value.dtype in WIDE:
            text = f"{node.op_type} in {value.dtype} decides"
            yield subject.finding("RR501", text, node=node_name(node), place=flow.place_name(node))
            return


ENGINE_CHECKS: dict[str, Callable[[Subject, Dataflow], Iterator[Finding]]] = {
    "onnxruntime": _check_onnxruntime,
    "openvino": _check_openvino,
}
