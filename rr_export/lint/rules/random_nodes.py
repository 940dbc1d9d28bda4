"""Rules about the random nodes themselves: RR101 to RR110."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from rr_export.lint.dataflow import Dataflow, Level, Place, node_name
from rr_export.lint.finding import Finding
from rr_export.lint.reading import Subject

HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
LAST_OPSET = 21  # onnxruntime 1.32 has no CPU kernels for random operators from the next one on, but for Dropout


def check_random_nodes(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Yields what is wrong with each random node, and with all of them together."""
    opset = flow.model.opset_imports.get("", 0)
    for node in flow.random:
        where = {"node": node_name(node), "place": flow.place_name(node)}
        if node.op_type == "Bernoulli":
            yield subject.finding("RR101", f"a Bernoulli{_followers(flow, node)}", **where)
        if node.op_type.endswith("Dropout"):
            yield subject.finding("RR102", f"a {node.op_type} whose training_mode is or may be true", **where)
        if any(owner.op_type == "If" for owner, _ in flow.place(node)):
            yield subject.finding("RR104", f"{node.op_type} inside a branch", **where)
        level = flow.inputs_origin(node).level
        if level < Level.INPUT:
            on = {Level.CONSTANT: "constants", Level.STATIC: "fixed sizes", Level.SHAPE: "sizes"}[level]
            severity = "error" if level < Level.SHAPE and _decides(flow, node) else "warning"
            yield subject.finding("RR105", f"{node.op_type} depends on {on} only", severity=severity, **where)
        if not has_kernel(node, opset):
            yield subject.finding("RR106", f"{node.op_type} at opset {opset}", **where)
        if "seed" in node.attributes:
            value = node.attributes["seed"].value
            yield subject.finding("RR107", f"{node.op_type} with seed = {value}", **where)
        if _dtype(node) in HALF:
            yield subject.finding("RR108", f"{node.op_type} in {_dtype(node)}", **where)
        if node.op_type == "Multinomial":
            yield from _check_multinomial(subject, node, where)
    if len(flow.random) > 1:
        yield _tied(subject, flow)


def has_kernel(node: ir.Node, opset: int) -> bool:
    """Whether onnxruntime's CPU provider can run a random node of this opset."""
    return opset <= LAST_OPSET or bool(node.domain) or node.op_type == "Dropout"


def _check_multinomial(subject: Subject, node: ir.Node, where: dict[str, str]) -> Iterator[Finding]:
    source = node.inputs[0] if node.inputs else None
    shape = None if source is None else source.shape
    if shape is not None and len(shape) != 2:
        yield subject.finding("RR109", f"Multinomial on an input of rank {len(shape)}", **where)
    samples = node.attributes["sample_size"].as_int() if "sample_size" in node.attributes else 1
    asked = node.metadata_props.get("pkg.torch.onnx.fx_node", "")  # torch's own call: (probs, samples, replacement)
    if samples > 1 and ", True" not in asked:
        yield subject.finding("RR110", f"Multinomial draws {samples} samples", **where)


def _tied(subject: Subject, flow: Dataflow) -> Finding:
    """The finding about all random nodes together, at the first of them."""
    nodes = flow.random
    names = [node_name(n) for n in nodes]
    shown = ", ".join(map(repr, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    details = "".join(f"; {text}" for text in (_equal_positions(flow, nodes), _near_seeds(nodes)) if text)
    severity = "error" if sum(_decides(flow, n) for n in nodes) > 1 else "warning"
    message = f"{len(nodes)} random nodes: {shown}{details}"
    return subject.finding("RR103", message, node=names[0], place=flow.place_name(nodes[0]), severity=severity)


def _equal_positions(flow: Dataflow, nodes: Sequence[ir.Node]) -> str:
    """Says which nodes stand at the same index of sibling branches: these draw the same numbers."""
    positions: dict[tuple[Place, int], list[str]] = {}
    for node in nodes:
        place = flow.place(node)
        if place and isinstance(node.graph, ir.Graph):
            key = (place[:-1], list(node.graph).index(node))
            positions.setdefault(key, []).append(node_name(node))
    same = [" and ".join(map(repr, names)) for names in positions.values() if len(names) > 1]
    return f"at the same index of different branches: {'; '.join(same)}" if same else ""


def _near_seeds(nodes: Sequence[ir.Node]) -> str:
    """Says which seed attributes are equal or adjacent once they are truncated to integers."""
    given = [float(n.attributes["seed"].value) for n in nodes if "seed" in n.attributes]
    seeds = sorted(max(1, int(seed)) for seed in given if math.isfinite(seed))  # 0 and 1 give the same stream
    equal = sorted({a for a, b in itertools.pairwise(seeds) if a == b})
    adjacent = sorted({(a, b) for a, b in itertools.pairwise(seeds) if b - a == 1})
    texts = [f"equal seeds {', '.join(map(str, equal))}"] if equal else []
    texts += [f"adjacent seeds {', '.join(f'{a} and {b}' for a, b in adjacent)}"] if adjacent else []
    return "; ".join(texts)


def _decides(flow: Dataflow, node: ir.Node) -> bool:
    """Whether what a random node gives chooses between computations."""
    return any(node in d.origin.random for d in flow.decisions)


def _followers(flow: Dataflow, node: ir.Node) -> str:
    """How many choices look at a Bernoulli, where it is more than one."""
    count = sum(node in d.origin.random for d in flow.decisions)
    return f" that {count} decisions look at" if count > 1 else ""


def _dtype(node: ir.Node) -> ir.DataType | None:
    """The type of what a random node gives: its attribute, or else its input's for the operators that copy it."""
    if node.outputs[0].dtype is not None:
        return node.outputs[0].dtype
    if "dtype" in node.attributes:
        return ir.DataType(node.attributes["dtype"].as_int())
    return node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else ir.DataType.FLOAT
