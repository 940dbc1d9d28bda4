"""Sites whose routes the input decides: the route is computed where the site is called, and the path taken at the end.

before:  limits -> rr::Route(limits) -> rr::Select(route, a, b)
after:   limits, draws, latent -> route, int64 [1] -> rr::Select(route, a, b)

Where the site lies in a branch of another one, every Select around it hands its route on, and -1 from its other
branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from rr_export.capture.origins import SCOPE_KEY
from rr_export.eager.gate import GRID, reported_name
from rr_export.errors import LoweringError
from rr_export.laws.plan import Plan
from rr_export.lowering.builder import Builder
from rr_export.lowering.placement import MARKERS, is_select, parse_scope
from rr_export.lowering.prelude import DRAWS, TAKEN
from rr_export.lowering.reach import LATENT, path_taken

if TYPE_CHECKING:
    from rr_export.capture.captured_model import Captured


def decide_by_input(graph: ir.Graph, captured: Captured, prelude: Builder, latent: ir.Value) -> None:
    """Every gated Select of the flat graph reads its route; the path taken is an output of the graph.

    Args:
        graph: the flat graph, with its markers.
        captured: what they mean.
        prelude: what computes the draws and the latent routes.
        latent: the latent routes, int64 [S]: -1 at gated sites that no route is asked for.

    Raises:
        LoweringError: a gated site is decided at several places, or nobody reads what is around it.
    """
    plan = captured.plan
    latent.name = LATENT
    draws, last = _whole_draws(prelude), Builder(graph)
    routes: dict[int, ir.Value] = {}
    reported: list[ir.Value] = []
    for marker in [node for node in graph if node.domain == MARKERS and node.op_type == "Route" and node.inputs]:
        site = marker.attributes["site"].as_int()
        if site in routes:
            raise LoweringError(
                f"site {plan.sites[site].name!r}: expected a gate that decides at one place, got several, as tensors "
                "of different shapes are handed from branch to branch; let the shapes agree before the site"
            )
        scope, probabilities = marker.metadata_props.get(SCOPE_KEY, ""), marker.inputs[1:]
        route = _route(graph, marker, plan, site, (draws, latent))
        nothing = prelude.constant("not_reached", np.array([-1]))
        carried = _carried_out(graph, captured, route, scope, nothing)
        routes[site] = last.op("Identity", [carried])  # the Selects that it comes out of are made anew for the next one
        for value in probabilities:
            assert value is not None
            zeros = prelude.constant("no_probabilities", np.zeros(plan.sites[site].policy.branches, np.float32))
            value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(zeros.shape or ())
            reported.append(last.op("Identity", [_carried_out(graph, captured, value, scope, zeros)]))
            reported[-1].name = reported_name(plan.sites[site].name)
            reported[-1].type, reported[-1].shape = value.type, value.shape
    graph.outputs.extend(reported)
    found = [routes.get(site, prelude.constant("not_called", np.array([-1]))) for site in plan.gates]
    joined = last.op("Concat", [latent, *found], axis=0)
    positions = np.arange(len(plan.sites))
    positions[list(plan.gates)] = len(plan.sites) + np.arange(len(plan.gates))
    decided = last.op("Gather", [joined, last.constant("decided", positions)], axis=0)
    graph.outputs.append(path_taken(last, plan, decided, TAKEN))
    graph.extend(last.nodes)


def _whole_draws(builder: Builder) -> ir.Value:
    """The draws as whole numbers, int64 [S], 2^24 times as large."""
    drawn = next((v for node in builder.nodes for v in node.outputs if v.name == DRAWS), None)
    if drawn is not None:
        return drawn
    given = next(v for v in builder.graph.inputs if v.name == DRAWS)
    scaled = builder.op("Mul", [given, builder.constant("grid", np.array(GRID, np.float32))])
    return builder.op("Cast", [scaled], to=ir.DataType.INT64)


def _route(graph: ir.Graph, marker: ir.Node, plan: Plan, site: int, sources: tuple[ir.Value, ir.Value]) -> ir.Value:
    """The route, int64 [1], computed where the marker stands: the asked one, or how many limits are <= the draw."""
    builder = Builder(graph)
    limits = marker.inputs[0]
    assert limits is not None
    here = builder.constant("gated_site", np.array([site]))
    draw, asked = (builder.op("Gather", [source, here], axis=0) for source in sources)
    passed = builder.op("Cast", [builder.op("GreaterOrEqual", [draw, limits])], to=ir.DataType.INT64)
    drawn = builder.op("ReduceSum", [passed, builder.constant("axis", np.array([0]))], keepdims=1)
    free = builder.op("Less", [asked, builder.constant("no_route", np.array(0))])
    route = builder.op("Where", [free, drawn, asked])
    for node in builder.nodes:
        node.name = node.outputs[0].name = f"rr/{plan.sites[site].name}/{node.name}"
        node.metadata_props[SCOPE_KEY] = marker.metadata_props.get(SCOPE_KEY, "")
    route.type, route.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([1])
    graph.insert_before(marker, builder.nodes)
    ir.convenience.replace_all_uses_with(marker.outputs[0], route)
    graph.remove(marker, safe=True)
    return route


def _carried_out(graph: ir.Graph, captured: Captured, value: ir.Value, scope: str, nothing: ir.Value) -> ir.Value:
    """The value in the main graph: ``nothing`` where a branch around it is not taken."""
    for call, branch in reversed(parse_scope(scope)):
        select = next((n for n in graph if is_select(n) and n.attributes["call"].as_int() == call), None)
        if select is None:
            title, *branches = captured.names(call)
            raise LoweringError(
                f"{title!r}, branch {branches[branch]!r}: expected a result that is read, got a gate inside a branch "
                "of which nobody reads anything; use the result, or leave the site away"
            )
        count = len(captured.names(call)) - 1
        value = _extended(graph, select, [value if k == branch else nothing for k in range(count)])
    return value


def _extended(graph: ir.Graph, select: ir.Node, operands: Sequence[ir.Value]) -> ir.Value:
    """The new last result of a Select, which takes the place of the one that was there."""
    count = len(select.outputs)
    inputs = [select.inputs[0]]
    for k, operand in enumerate(operands):
        inputs += [*select.inputs[1 + k * count : 1 + (k + 1) * count], operand]
    node = ir.node(
        "Select", inputs, dict(select.attributes), domain=MARKERS, num_outputs=count + 1, version=select.version,
        metadata_props=dict(select.metadata_props),
    )  # fmt: skip
    graph.insert_before(select, node)
    for old, new in zip(select.outputs, node.outputs, strict=False):
        new.name, new.type, new.shape = old.name, old.type, old.shape
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(select, safe=True)
    result = node.outputs[count]
    result.name, result.type, result.shape = f"{operands[0].name}/carried", operands[0].type, operands[0].shape
    return result
