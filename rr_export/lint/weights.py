"""Rules about weights: RR401 and RR402."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import onnx_ir as ir

from rr_export.lint.finding import Finding
from rr_export.lint.flow import Flow, constant_of, node_name
from rr_export.lint.reading import Subject

PREPACKED = frozenset(
    {"MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "MatMulInteger", "QLinearMatMul"}
    | {"QLinearConv", "DynamicQuantizeMatMul", "MatMulNBits", "Attention", "QAttention"}
)
LEAST_BYTES = 1024  # smaller ones do not show
LEAST_SHARE = 1e-3  # of all weights: equal biases and norms of an untrained net do not matter


def check_weights(subject: Subject, flow: Flow) -> Iterator[Finding]:
    """Yields weights stored too far from their use, and weights stored twice."""
    yield from _check_depth(subject, flow)
    yield from _check_duplicates(subject, flow)


def _check_depth(subject: Subject, flow: Flow) -> Iterator[Finding]:
    depth_of = {v: len(flow.place_of(g)) for g in flow.model.graphs() for v in g.initializers.values()}
    for node in flow.nodes():
        if node.op_type not in PREPACKED:
            continue
        for value in node.inputs[1:]:
            tensor = constant_of(value)
            if value is None or value not in depth_of or tensor is None or tensor.nbytes < LEAST_BYTES:
                continue
            levels = len(flow.place(node)) - depth_of[value]
            if levels > 1:
                text = f"{node.op_type} uses {value.name!r} from {levels} levels up"
                yield subject.finding("RR401", text, node=node_name(node), place=flow.place_name(node))


def _check_duplicates(subject: Subject, flow: Flow) -> Iterator[Finding]:
    known: dict[tuple[object, ...], list[ir.Value]] = {}
    stored: dict[object, ir.Value] = {}
    for graph in flow.model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < LEAST_BYTES or tensor.dtype == ir.DataType.STRING:
                continue
            here = (tensor.location, tensor.offset) if isinstance(tensor, ir.ExternalTensor) else id(tensor)
            if here in stored:
                continue
            stored[here] = value
            try:
                content = hashlib.sha256(tensor.tobytes()).digest()
            except (OSError, ValueError):  # external data that is missing: said elsewhere
                continue
            known.setdefault((tensor.dtype, tuple(tensor.shape), content), []).append(value)
    total = sum(value.const_value.nbytes for value in stored.values() if value.const_value is not None)
    for values in known.values():
        wasted = (len(values) - 1) * values[0].const_value.nbytes  # type: ignore[union-attr]
        if wasted > LEAST_SHARE * total:
            names = ", ".join(repr(v.name) for v in values[:4]) + (" ..." if len(values) > 4 else "")
            text = f"{names} are equal: {wasted} bytes too many"
            yield subject.finding("RR402", text, node=values[0].name or "")
