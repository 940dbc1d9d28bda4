"""The part that decides, made anew in a model in which the input decides at some sites.

before:  draws, latent routes -> { ..., gate's route, ... } -> path taken     of the plan that it had
after:   the same, of another plan; sites at which no gate decides any more draw, as others do
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.errors import PackageError
from rr_export.laws.plan import Plan
from rr_export.lowering.builder import Builder
from rr_export.lowering.deciding_slice import find_value
from rr_export.lowering.prelude import DRAWS, TAKEN, latent_routes
from rr_export.lowering.reach import LATENT, path_taken
from rr_export.lowering.sink import conditions
from rr_export.passes.simplify import simplify
from rr_export.passes.unique_names import name_uniquely
from rr_export.targets.reroute import forget_routing, ifs_by_key


def reroute_gated(model: ir.Model, plan: Plan, left: Plan, interface: str) -> ir.Model:
    """Returns the model whose routes are decided by another plan, in which a gate decides too; the model is consumed.

    Args:
        model: the routed model, every ``If`` of a site marked with its routes in the new plan.
        plan: the plan that it has: of the same sites, with gates where the new one has some.
        left: the new plan.
        interface: of the model: explicit or host.

    Raises:
        PackageError: the part that decides is not as it was exported.
    """
    graph = model.graph
    taken, latent = find_value(graph, TAKEN), find_value(graph, LATENT)
    drawn = next((v for v in graph.inputs if v.name == DRAWS), None) or find_value(graph, DRAWS)
    found = _routes_of_gates(taken, plan)
    forget_routing(graph)
    builder, last = Builder(graph), Builder(graph)
    routes = latent_routes(builder, left, interface)
    routes.name = LATENT
    draws = next((v for v in graph.inputs if v.name == DRAWS), None) or next(
        v for node in builder.nodes for v in node.outputs if v.name == DRAWS
    )
    ir.convenience.replace_all_uses_with(drawn, draws)
    ir.convenience.replace_all_uses_with(latent, routes)
    ifs = ifs_by_key(graph)
    made = conditions(builder, left, [key for key in ifs if key[0] not in left.gates], routes)
    for key, condition in made.items():
        for node in ifs[key]:
            node.replace_input_with(0, condition)
    joined = last.op("Concat", [routes, *(found[site] for site in left.gates)], axis=0)
    positions = np.arange(len(left.sites))
    positions[list(left.gates)] = len(left.sites) + np.arange(len(left.gates))
    decided = last.op("Gather", [joined, last.constant("decided", positions)], axis=0)
    graph.outputs.append(path_taken(last, left, decided, TAKEN))
    graph.insert_before(graph[0], builder.nodes)
    graph.extend(last.nodes)
    ir_passes.RemoveUnusedNodesPass()(model)
    name_uniquely(model)
    simplify(model)
    return model


def _routes_of_gates(taken: ir.Value, plan: Plan) -> dict[int, ir.Value]:
    """The route, int64 [1], that every gate of the plan decided on, -1 where it is not reached."""
    node = taken.producer()
    if node is not None and node.op_type == "Where":
        node = node.inputs[1].producer() if node.inputs[1] is not None else None
    joined = None if node is None or node.op_type != "Gather" or node.inputs[0] is None else node.inputs[0].producer()
    if joined is None or joined.op_type != "Concat" or len(joined.inputs) != 1 + len(plan.gates):
        raise PackageError(
            "prune: expected the part that decides as it was exported, got another one (a tool rewrote it); prune the "
            "exported bundle"
        )
    return {site: value for site, value in zip(plan.gates, joined.inputs[1:], strict=True) if value is not None}
