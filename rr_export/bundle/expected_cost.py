"""What a run of a routed graph costs on average: the parameters that it uses, and its products and convolutions."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from rr_export.bundle.site_keys import CALL_KEY, MIDDLE_KEY, SITE_KEY
from rr_export.laws.plan import Plan


@dataclass(frozen=True)
class ExpectedCost:
    """What a run costs, under the plan's law.

    Attributes:
        parameters: number of parameters, each counted once.
        parameters_used: expected number of parameters that a run uses.
        flops: multiply-adds times two of all branches, for ``sizes``; matrix products and convolutions only.
        flops_used: expected number in one run.
        sizes: the sizes taken for dynamic axes.
    """

    parameters: int
    parameters_used: float
    flops: float
    flops_used: float
    sizes: Mapping[str, int]


def sizes_taken(labels: Collection[str], sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Returns a size for every dynamic axis: 1 for a batch, else 64, where none is given."""
    return {label: (sizes or {}).get(label, 1 if label.startswith("batch") else 64) for label in sorted(labels)}


def expected_cost(model: ir.Model, plan: Plan, sizes: Mapping[str, int]) -> ExpectedCost:
    """Returns what a run costs on average; every branch of a gate counts as equally likely.

    Args:
        model: the model, whose ``If`` of sites carry their marks.
        plan: its sites.
        sizes: sizes of dynamic axes by name, for counting FLOPs.
    """
    plan = plan.evenly()
    weights: dict[int, tuple[int, set[frozenset[tuple[int, int, int, int]]]]] = {}
    total = used = 0.0
    for node, inside in _walk(model.graph, ()):
        share = _probability_of_any(plan, {frozenset(inside)})
        flops = _flops(node, sizes)
        total += flops
        used += share * flops
        for value in node.inputs:
            if value is not None and value.is_initializer() and value.const_value is not None and _is_weight(value):
                known = weights.setdefault(id(value.const_value), (value.const_value.size, set()))
                known[1].add(frozenset(inside))
    return ExpectedCost(
        sum(size for size, _ in weights.values()),
        sum(size * _probability_of_any(plan, places) for size, places in weights.values()),
        total,
        used,
        dict(sizes),
    )


Inside = tuple[tuple[int, int, int, int], ...]  # (call, site, first route, last route + 1), outermost first


def _walk(graph: ir.Graph, inside: Inside) -> Iterator[tuple[ir.Node, Inside]]:
    for node in graph:
        yield node, inside
        for attribute in node.attributes.values():
            if attribute.type != ir.AttributeType.GRAPH:
                continue
            inner = inside
            if SITE_KEY in node.metadata_props:
                call, site, middle = (int(node.metadata_props[k]) for k in (CALL_KEY, SITE_KEY, MIDDLE_KEY))
                low, high = next(((a, b) for c, _, a, b in inside if c == call), (0, 1 << 62))
                part = (middle, high) if attribute.name == "then_branch" else (low, middle)
                inner = (*(i for i in inside if i[0] != call), (call, site, *part))
            yield from _walk(attribute.as_graph(), inner)


def _probability_of_any(plan: Plan, places: set[frozenset[tuple[int, int, int, int]]]) -> float:
    """P(at least one of the places is computed); a place is a conjunction of route ranges."""
    if frozenset() in places:
        return 1.0
    return plan.probability_of_any(
        [{site: range(low, min(high, plan.sites[site].policy.branches)) for _, site, low, high in p} for p in places]
    )


def _is_weight(value: ir.Value) -> bool:
    return not (value.name or "").startswith("rr/") and value.dtype is not None and value.dtype.is_floating_point()


def _flops(node: ir.Node, sizes: Mapping[str, int]) -> float:
    """Two per multiply-add of matrix products and convolutions; 0 for everything else."""
    shapes = [_shape(v, sizes) for v in node.inputs]
    output = _shape(node.outputs[0], sizes)
    if output is None or len(shapes) < 2 or shapes[0] is None or shapes[1] is None:
        return 0.0
    if node.op_type == "MatMul":
        return 2.0 * math.prod(output) * shapes[0][-1]
    if node.op_type == "Gemm":
        transposed = node.attributes["transA"].as_int() if "transA" in node.attributes else 0
        return 2.0 * math.prod(output) * shapes[0][0 if transposed else 1]
    if node.op_type == "Conv":
        return 2.0 * math.prod(output) * math.prod(shapes[1][1:])
    return 0.0


def _shape(value: ir.Value | None, sizes: Mapping[str, int]) -> list[int] | None:
    if value is None or value.shape is None:
        return None
    found = []
    for dim in value.shape:
        if isinstance(dim, int):
            found.append(dim)
        else:
            size = ir.SymbolicDim(dim.value).evaluate(sizes) if dim.value is not None else None
            if not isinstance(size, int):
                return None
            found.append(size)
    return found
