"""Another interface for a lowered model: the part that decides is made anew, or given to the runtime.

before:  rr_seed, rr_path -> draws -> routes -> path taken -> conditions -> If ...     (explicit)
after:   rr_draws, rr_path -> routes -> path taken -> conditions -> If ...             (host)
         rr_gate.0.1, rr_gate.1.1, ... -> If ...                                       (gates)
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.laws.plan import Plan
from rr_export.lowering import DRAWS, GATE, RESERVED, TAKEN
from rr_export.lowering.builder import Builder
from rr_export.lowering.prelude import decide
from rr_export.lowering.reach import LATENT
from rr_export.lowering.sink import MIDDLE_KEY, SITE_KEY, conditions
from rr_export.passes.simplify import simplify
from rr_export.passes.unique_names import name_uniquely

GATES = "gates"
Key = tuple[int, int]  # a site, and the least route for which its condition is true


def gate_name(site: int, middle: int) -> str:
    """Returns the name of the input that is true where the site's route is >= ``middle``."""
    return f"{GATE}{site}.{middle}"


def reroute(model: ir.Model, plan: Plan, interface: str) -> ir.Model:
    """Returns the model with the interface "explicit", "host", "standalone" or "gates"; the model is consumed.

    A model with gates has an input bool [1] for every condition, and nothing of what decides: no random node, no
    arithmetic on routes, and no output ``rr_path_taken``. Whoever runs it decides, and knows the path.

    Raises:
        LoweringError: a standalone file has no numeric input.
    """
    graph = model.graph
    forget_routing(graph)
    gates = ifs_by_key(graph)
    if interface == GATES:
        for (site, middle), nodes in gates.items():
            value = ir.Value(name=gate_name(site, middle), type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([1]))
            graph.inputs.append(value)
            _set_condition(nodes, value)
    else:
        builder = Builder(graph)
        made = conditions(builder, plan, list(gates), decide(builder, plan, interface))
        for key, nodes in gates.items():
            _set_condition(nodes, made[key])
        first = next(iter(graph), None)
        if first is None:
            graph.extend(builder.nodes)
        else:
            graph.insert_before(first, builder.nodes)
    ir_passes.RemoveUnusedNodesPass()(model)
    name_uniquely(model)
    simplify(model)
    return model


def ifs_by_key(graph: ir.Graph) -> dict[Key, list[ir.Node]]:
    """Returns the ``If`` nodes of sites by site and least route of their then_branch, sorted."""
    found: dict[Key, list[ir.Node]] = {}
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if SITE_KEY in node.metadata_props:
            key = int(node.metadata_props[SITE_KEY]), int(node.metadata_props[MIDDLE_KEY])
            found.setdefault(key, []).append(node)
    return dict(sorted(found.items()))


def forget_routing(graph: ir.Graph) -> None:
    """What decides has lost its names, inputs and output: dead code once nothing reads the conditions."""
    for taken in [v for v in graph.outputs if v.name == TAKEN]:
        graph.outputs.remove(taken)
    for value in [v for node in graph for v in node.outputs if v.name in (TAKEN, LATENT, DRAWS)]:
        value.name = f"{value.name}.old"
    for value in [v for v in graph.inputs if v.name in RESERVED]:
        graph.inputs.remove(value)
        value.name = f"{value.name}.old"


def _set_condition(nodes: list[ir.Node], value: ir.Value) -> None:
    for node in nodes:
        node.replace_input_with(0, value)
