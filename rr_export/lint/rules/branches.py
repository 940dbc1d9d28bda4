"""Rules about choices between computations, in any file: RR201 to RR208."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.lint.dataflow import (
    ARITHMETIC,
    CHOOSING,
    COMPARISONS,
    PASSING,
    SCALING,
    Dataflow,
    GraphDecision,
    Level,
    node_name,
    random_op_names,
    small_constant,
)
from rr_export.lint.finding import Finding
from rr_export.lint.reading import Subject
from rr_export.lint.rules.random_nodes import HALF
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN

ACTIVATED = ("Conv", "Gemm", "MatMul", "Add")  # what an activation often follows
ORDERED, ROUNDING = COMPARISONS - {"Equal"}, frozenset({"Ceil", "Floor"})
RESHAPING = frozenset({"Cast", "CastLike", "Expand", "Flatten", "Identity", "Not", "Reshape", "Squeeze", "Unsqueeze"})
OURS = (SEED, PATH, DRAWS)
_TORCH = ("rand", "randn", "randint", "rand_like", "randn_like", "uniform", "native_dropout")
_DRAW_NAME = re.compile(
    rf"(.*[/.])?({'|'.join(sorted({n.lower() for n in random_op_names()} | set(_TORCH)))})(_\d+)?(_output_\d+)?",
    re.IGNORECASE,
)


def check_decisions(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Yields what is wrong with each choice, and with their independence."""
    for decision in flow.decisions:
        yield from _check_constant(subject, flow, decision)
        if decision.node.op_type == "If":
            yield from _check_branches(subject, flow, decision)
    yield from _check_precision(subject, flow)
    yield from _check_frozen_draws(subject, flow)
    yield from check_defaults(subject, flow)
    yield from _check_activations(subject, flow)
    if subject.plan is None:
        yield from _check_shared(subject, flow)


def _check_constant(subject: Subject, flow: Dataflow, decision: GraphDecision) -> Iterator[Finding]:
    """A Where, or a product with a mask, is a choice between computations only if it looks at one number."""
    node, origin = decision.node, decision.origin
    if origin.level > Level.CONSTANT or origin.random or origin.defaults:
        return
    if node.op_type not in ("If", "Where", "Mul"):
        return
    if node.op_type != "If" and (_size(decision.value) != 1 or _is_constant_too(flow, decision)):
        return
    yield subject.finding(
        "RR201",
        f"the condition {decision.value.name!r} of {node.op_type} is a constant",
        node=node_name(node),
        place=flow.place_name(node),
    )


def _is_constant_too(flow: Dataflow, decision: GraphDecision) -> bool:
    """Whether what is chosen, or masked, is no computation that is saved or lost, but a constant."""
    others = [v for v in decision.node.inputs if v is not None and v is not decision.value]
    return any(flow.origin(v).level < Level.INPUT for v in others)


def _check_precision(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """What works in half precision between a draw and a decision.

    In files with a manifest that is everything before the path taken; in others comparisons of draws, what says which
    of them is the largest, and what hands draws and thresholds on to these.
    """
    if subject.plan is not None:
        taken = [v for node in flow.model.graph for v in node.outputs if v.name == TAKEN]
        upstream = flow.claimed({v: "the routes" for v in taken})
    else:
        upstream = flow.claimed({d.value: f"{d.node.op_type} {node_name(d.node)!r}" for d in flow.decisions})
    users = {maker: words for value, words in upstream.items() if (maker := value.producer()) is not None}
    handing: set[ir.Node | None] = set()
    for node in users:
        handed = list(_handed(flow, node)) if node.op_type in COMPARISONS | CHOOSING else []
        if any(v.name in OURS or ((maker := v.producer()) is not None and flow.is_random(maker)) for v in handed):
            handing |= {node, *(v.producer() for v in handed)}
    for node in flow.nodes():
        if node not in users or (subject.plan is None and node not in handing):
            continue
        halves = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype in HALF]
        if halves and (node in handing or any(_is_drawn(flow, v) for v in halves)):
            text = f"{node.op_type} in half precision decides {users[node]}"
            yield subject.finding("RR204", text, node=node_name(node), place=flow.place_name(node))


def _handed(flow: Dataflow, comparison: ir.Node) -> Iterator[ir.Value]:
    """What a comparison gets, followed back through casts, reshapes, selections, arithmetic and reductions."""
    todo = list(comparison.inputs)
    seen: set[ir.Value] = set()
    while todo:
        value = todo.pop()
        if value is None or value in seen:
            continue
        seen.add(value)
        yield value
        producer = value.producer()
        if producer is not None and not producer.domain and producer.op_type in PASSING | SCALING | ARITHMETIC:
            drawn = [v for v in producer.inputs if v is not None and flow.origin(v).random]
            todo += drawn or producer.inputs[:1]


def _is_drawn(flow: Dataflow, value: ir.Value) -> bool:
    """Whether a value is made from draws: the random node's, or those that the host feeds."""
    return bool(flow.origin(value).random) or any(v.name == DRAWS for v in flow.upstream(value))


def _check_branches(subject: Subject, flow: Dataflow, decision: GraphDecision) -> Iterator[Finding]:
    """Compares what the two bodies of an If give."""
    node = decision.node
    sides = [node.attributes[k].as_graph().outputs for k in ("then_branch", "else_branch") if k in node.attributes]
    routed = bool(decision.origin.random) or subject.plan is not None
    if len({len(outputs) for outputs in sides}) > 1:
        counts = " and ".join(str(len(outputs)) for outputs in sides)
        text = f"then_branch and else_branch have {counts} outputs"
        yield subject.finding("RR206", text, node=node_name(node), place=flow.place_name(node))
    for number, (a, b) in enumerate(zip(*sides, strict=False)):
        text = f"output {number} is {_typed(a)} in then_branch and {_typed(b)} in else_branch"
        where = {"node": node_name(node), "place": flow.place_name(node)}
        if a.dtype is not None and b.dtype is not None and a.dtype != b.dtype:
            yield subject.finding("RR206", text, **where)
        elif a.shape is None or b.shape is None:
            continue
        elif len(a.shape) != len(b.shape) and routed:
            yield subject.finding("RR206", text, **where)
        elif any(isinstance(x, int) and isinstance(y, int) and x != y for x, y in zip(a.shape, b.shape, strict=False)):
            yield subject.finding("RR207", text, severity="warning" if routed else "note", **where)


def _check_frozen_draws(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """A constant that bears the name of a draw, and whose values a draw could have."""
    for graph in flow.model.graphs():
        stored = [v for v in graph.initializers.values() if not v.is_graph_input()]
        stored += [n.outputs[0] for n in graph if n.op_type == "Constant" and not n.domain]
        for value in stored:
            if value.name is None or not _DRAW_NAME.fullmatch(value.name) or not value.uses():
                continue
            array = small_constant(value)
            if array is not None and _could_be_drawn(value.name, array):
                shown = np.array2string(array.ravel()[:4], separator=", ", precision=3)
                yield subject.finding("RR202", f"the constant {value.name!r} = {shown}", node=value.name)


def _could_be_drawn(name: str, array: NDArray[Any]) -> bool:
    """Whether the numbers are some that the random operator of this name gives."""
    if array.dtype.kind not in "fiub":
        return False
    numbers, lower = array.astype(np.float64), name.lower()
    if "bernoulli" in lower or "dropout" in lower:
        return len(np.unique(numbers[numbers != 0])) <= 1
    if "multinomial" in lower or "randint" in lower:
        return bool((numbers >= 0).all() and (numbers == np.floor(numbers)).all())
    return "normal" in lower or "randn" in lower or bool(((numbers >= 0) & (numbers < 1)).all())


def check_defaults(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Inputs with a default that a decision or a random node depends on (before IR 4 every weight is one)."""
    found: dict[ir.Value, str] = {}
    for node in flow.random:
        for value in flow.inputs_origin(node).defaults:
            found.setdefault(value, f"{node.op_type} {node_name(node)!r}")
    for decision in flow.decisions:
        one = decision.node.op_type in ("If", "Loop") or _size(decision.value) == 1
        for value in decision.origin.defaults if one or decision.origin.random else ():
            found.setdefault(value, f"{decision.node.op_type} {node_name(decision.node)!r}")
    for value in flow.model.graph.inputs:
        if value.name in OURS and value.is_initializer():
            found.setdefault(value, "the routes")
    for value in flow.model.graph.inputs:
        user = found.get(value)
        if user is None:
            continue
        if flow.model.ir_version >= 4 or value.name in OURS:
            yield subject.finding("RR205", f"the input {value.name!r} decides {user}", node=value.name or "")


def _check_activations(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Quantisers drop a Relu behind these where the range that they store begins at 0, and redirect outer readers only.

    Seen with onnxruntime 1.32, ``quantize_static`` in the QDQ format.
    """
    for node in flow.nodes():
        if node.op_type != "QuantizeLinear" or len(node.inputs) < 3:
            continue
        value, zero = node.inputs[0], small_constant(node.inputs[2])
        maker = None if value is None else value.producer()
        if value is None or maker is None or maker.op_type not in ACTIVATED:
            continue
        inner = [u.node for u in value.uses() if u.node.graph is not node.graph]
        if inner and zero is not None and zero.dtype.kind in "iu" and (zero == np.iinfo(zero.dtype).min).all():
            text = f"{node_name(inner[0])!r} in {flow.place_name(inner[0])} reads {value.name!r} before it is quantised"
            yield subject.finding("RR208", text, node=node_name(inner[0]), place=flow.place_name(inner[0]))


@dataclass(frozen=True)
class _Asked:
    """What a decision asks: two that ask the same ``number`` are not independent.

    Attributes:
        number: of the drawn number; where it is not known, of the condition.
        condition: of the condition.
        threshold: of what the drawn number is compared with, None where that is not known.
    """

    number: object
    condition: object
    threshold: object = None


def _check_shared(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Decisions that can both be made in one run and look at one condition, or at one number and two thresholds."""
    groups: dict[object, list[tuple[GraphDecision, _Asked]]] = {}
    for decision in flow.decisions:
        if decision.origin.random:
            asked = _asked(flow, decision.value)
            groups.setdefault(asked.number, []).append((decision, asked))
    for group in groups.values():
        for first, asked in group:
            others = [d for d, other in group if _tied(asked, other) and _can_both(flow, first.node, d.node)]
            others = [d for d in others if d.node is not first.node]
            if others:
                names = ", ".join(f"{d.node.op_type} {node_name(d.node)!r}" for d in (first, *others))
                where = {"node": node_name(first.node), "place": flow.place_name(first.node)}
                yield subject.finding("RR203", f"one number decides {names}", **where)
                break


def _tied(one: _Asked, other: _Asked) -> bool:
    """Whether two decisions on one number are made alike, or at two thresholds; not if one is the other's opposite."""
    return one.condition == other.condition or one.threshold != other.threshold


def _asked(flow: Dataflow, condition: ir.Value) -> _Asked:
    """What a condition asks, followed back to the number that was drawn and what it is compared with."""
    plain = _Asked(flow.number(condition), flow.number(condition))
    answer, chosen = _source(flow, condition, PASSING | SCALING)
    maker = answer.producer()
    if maker is None or maker.domain or maker.op_type not in ORDERED | ROUNDING:
        return plain
    drawn = [v for v in maker.inputs if v is not None and flow.origin(v).random]
    if len(drawn) != 1:
        return plain
    number, changed = _source(flow, drawn[0], RESHAPING | SCALING)
    others = [flow.number(v) for v in maker.inputs if v is not None and v is not drawn[0]]
    element = () if _size(number) == 1 else chosen  # one number may be compared with a vector of thresholds
    return _Asked((flow.number(number), element), plain.condition, (*others, chosen, changed))


def _source(flow: Dataflow, value: ir.Value, through: frozenset[str]) -> tuple[ir.Value, tuple[object, ...]]:
    """The random value that a value is made of by some operators alone, and what else these read that is not random."""
    read: list[object] = []
    while (maker := value.producer()) is not None and not maker.domain and maker.op_type in through:
        random = [v for v in maker.inputs if v is not None and flow.origin(v).random]
        if len(random) != 1:
            break
        if maker.op_type not in RESHAPING:
            others = (flow.number(v) for v in maker.inputs if v is not None and v is not random[0])
            read.append((maker.op_type, value.index(), *others))
        value = random[0]
    return value, tuple(read)


def _can_both(flow: Dataflow, a: ir.Node, b: ir.Node) -> bool:
    """Whether two nodes can run side by side: neither holds the other, and no If has them on different sides."""
    first, second = (dict(flow.place(node)) for node in (a, b))
    if a in second or b in first:
        return False
    return all(second.get(owner, side) == side for owner, side in first.items() if owner.op_type == "If")


def _size(value: ir.Value) -> int | None:
    if value.shape is None or not all(isinstance(d, int) for d in value.shape):
        return None
    return int(np.prod([d for d in value.shape if isinstance(d, int)], dtype=np.int64))


def _typed(value: ir.Value) -> str:
    return f"{value.dtype} {'of unknown rank' if value.shape is None else value.shape}"
