"""What a routed graph computes and reads, and under which routes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from rr_export.bundle.site_keys import CALL_KEY, MIDDLE_KEY, SITE_KEY
from rr_export.laws.plan import Plan

Inside = tuple[tuple[int, int, int, int], ...]  # (call, site, first route, last route + 1), outermost first
Event = Mapping[int, range]  # site -> the routes under which something is done; all of them must hold


@dataclass(frozen=True)
class Weight:
    """Numbers that a run reads.

    Attributes:
        parameters: how many.
        bytes: what they take.
        places: where they are read; one is enough.
    """

    parameters: int
    bytes: int
    places: tuple[Event, ...]


@dataclass(frozen=True)
class GraphWork:
    """The work of a graph, and where it is done.

    Attributes:
        products: multiply-adds times two of every matrix product and convolution, and where it is done.
        weights: all parameters, each array once.
        sizes: the sizes taken for dynamic axes.
    """

    products: tuple[tuple[float, Event], ...]
    weights: tuple[Weight, ...]
    sizes: Mapping[str, int]


def sizes_taken(manifest: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """Returns a size for every dynamic axis of the inputs: 1 for a batch, else 64, where none is given.

    Raises:
        ValueError: a size is given for what is no such axis.
    """
    labels = sorted({d for row in manifest["inputs"] for d in row["shape"] if isinstance(d, str)})
    unknown = sorted(set(sizes or {}) - set(labels))
    if unknown:
        raise ValueError(f"sizes: expected sizes of {labels or 'no axis'}, got {unknown}; drop them")
    return {label: (sizes or {}).get(label, 1 if label.startswith("batch") else 64) for label in labels}


def work_of(model: ir.Model, plan: Plan, sizes: Mapping[str, int]) -> GraphWork:
    """Returns what a graph computes and reads.

    Args:
        model: the model, whose ``If`` of sites carry their marks.
        plan: its sites.
        sizes: sizes of dynamic axes by name, for counting FLOPs.
    """
    weights: dict[int, tuple[ir.TensorProtocol, dict[frozenset[tuple[int, int, int, int]], None]]] = {}
    products = []
    for node, inside in _walk(model.graph, ()):
        flops = _flops(node, sizes)
        if flops:
            products.append((flops, _event(plan, frozenset(inside))))
        for value in node.inputs:
            if value is not None and value.is_initializer() and value.const_value is not None and _is_weight(value):
                known = weights.setdefault(id(value.const_value), (value.const_value, {}))
                known[1].setdefault(frozenset(inside))
    found = [
        Weight(tensor.size, tensor.nbytes, tuple(_event(plan, place) for place in places))
        for tensor, places in weights.values()
    ]
    return GraphWork(tuple(products), tuple(found), dict(sizes))


def _event(plan: Plan, place: frozenset[tuple[int, int, int, int]]) -> Event:
    return {site: range(low, min(high, plan.sites[site].policy.branches)) for _, site, low, high in place}


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
