"""Rules about weights: RR401 and RR402."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import onnx_ir as ir

from rr_export.lint.dataflow import Dataflow, constant_of, node_name
from rr_export.lint.finding import Finding
from rr_export.lint.reading import Subject

PREPACKED = ("MatMul", "Gemm", "Conv", "Attention", "LSTM", "GRU", "RNN")  # parts of operators' names
LEAST_BYTES = 1024  # smaller ones do not show
LEAST_SHARE = 1e-3  # of all weights: equal biases and norms of an untrained net do not matter


def check_weights(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Yields weights stored too far from their use, and weights stored twice."""
    yield from _check_depth(subject, flow)
    yield from _check_duplicates(subject, flow)


def _check_depth(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    depth_of = {v: len(flow.place_of(g)) for g in flow.model.graphs() for v in g.initializers.values()}
    for node in flow.nodes():
        if not any(part in node.op_type for part in PREPACKED):
            continue
        for value in node.inputs[1:]:
            tensor = constant_of(value)
            if value is None or value not in depth_of or tensor is None or tensor.nbytes < LEAST_BYTES:
                continue
            levels = len(flow.place(node)) - depth_of[value]
            if levels > 1:
                text = f"{node.op_type} uses {value.name!r} from {levels} levels up"
                yield subject.finding("RR401", text, node=node_name(node), place=flow.place_name(node))


def _check_duplicates(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    known: dict[tuple[object, ...], list[ir.Value]] = {}
    stored: set[object] = set()
    bytes_of: dict[ir.Value, int] = {}
    for graph in flow.model.graphs():
        constants = [n.outputs[0] for n in graph if n.op_type == "Constant" and not n.domain]
        for value in (*graph.initializers.values(), *constants):
            tensor = ir.convenience.get_const_tensor(value)
            if tensor is None or tensor.nbytes < LEAST_BYTES or tensor.dtype == ir.DataType.STRING:
                continue
            here = (tensor.location, tensor.offset) if isinstance(tensor, ir.ExternalTensor) else id(tensor)
            if here in stored:
                continue
            stored.add(here)
            try:
                content = hashlib.sha256(tensor.tobytes()).digest()
            except (OSError, ValueError):  # external data that is missing: said elsewhere
                continue
            bytes_of[value] = tensor.nbytes
            known.setdefault((tensor.dtype, tuple(tensor.shape), content), []).append(value)
    for values in known.values():
        wasted = (len(values) - 1) * bytes_of[values[0]]
        if wasted > LEAST_SHARE * sum(bytes_of.values()):
            names = ", ".join(repr(v.name) for v in values[:4]) + (" ..." if len(values) > 4 else "")
            text = f"{names} are equal: {wasted} bytes too many"
            yield subject.finding("RR402", text, node=values[0].name or "")
