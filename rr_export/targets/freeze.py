"""One path as a static model: every ``If`` is replaced by the branch that the path takes.

before:  x -> If(route >= 1){ a }{ b } -> y
after:   x -> a -> y
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.bundle.bundle import Bundle
from rr_export.capture.origins import SCOPE_KEY
from rr_export.laws.plan import Plan
from rr_export.lowering.sink import CALL_KEY, MIDDLE_KEY, SITE_KEY
from rr_export.passes.simplify import simplify
from rr_export.passes.unique_names import name_uniquely
from rr_export.targets.golden_runs import golden_on_path
from rr_export.targets.marks import mark_sites
from rr_export.targets.reroute import forget_routing
from rr_export.targets.weight_results import make_results


def freeze(bundle: Bundle, path: Sequence[int]) -> Bundle:
    """Returns a bundle of one static file that computes what the routed file computes on ``path``.

    It has the model's own inputs and outputs, no sites and no ``If`` of a site (interface "plain"); its manifest says
    under ``frozen`` which path it is. Of the golden cases it keeps those on this path; where there are none, it gets
    one, as the routed file answers it.

    Args:
        bundle: a routed bundle.
        path: S routes; -1 at sites that this path does not reach, and only there.

    Raises:
        PackageError: a site has lost its ``If``.
        ValueError: the path has another length, a route that the site has not, or -1 at a site that it reaches.
    """
    taken = check_path(bundle.plan, path)
    names = [site.name for site in bundle.plan.sites]
    manifest = copy.deepcopy(bundle.manifest)
    manifest |= {"interface": "plain", "sites": [], "idle": [], "frozen": {"path": list(taken), "sites": names}}
    golden = [replace(case, seed=None, path=None, taken=()) for case in golden_on_path(bundle, taken)]
    model = bundle.model.clone()
    mark_sites(model, bundle.plan, bundle.manifest.get("idle", ()))
    return Bundle(freeze_model(model, taken), manifest, golden)


def check_path(plan: Plan, path: Sequence[int]) -> tuple[int, ...]:
    """Returns the path taken: the routes of ``path``, -1 at the sites that it does not reach.

    Raises:
        ValueError: it has another length, a route that the site has not, or -1 at a site that it reaches.
    """
    return tuple(int(route) for route in plan.taken(plan.check_whole_path(path)))


def freeze_model(model: ir.Model, path: Sequence[int]) -> ir.Model:
    """Returns the static model of one path taken; the model is consumed."""
    graph = model.graph
    forget_routing(graph)
    inline_decided(graph, lambda site, middle: path[site] >= middle)
    settle_known(graph)
    ir_passes.RemoveUnusedNodesPass()(model)
    name_uniquely(model)
    simplify(model)
    make_results(graph, keep_names=True)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        node.metadata_props.pop(SCOPE_KEY, None)
    return model


def inline_decided(graph: ir.Graph, decided: Callable[[int, int], bool | None]) -> None:
    """Where it is known whether a route is at least some number, the branch that follows stands in the ``If``'s place.

    Args:
        graph: the main graph, every ``If`` of a site marked.
        decided: from a site and a number to whether its route is at least that, None where it is not known.
    """

    def settled() -> tuple[ir.Node, bool] | None:
        for node in ir.traversal.RecursiveGraphIterator(graph):
            if SITE_KEY in node.metadata_props:
                high = decided(int(node.metadata_props[SITE_KEY]), int(node.metadata_props[MIDDLE_KEY]))
                if high is not None:
                    return node, high
        return None

    while found := settled():
        node, high = found
        (_replace if node.op_type == "If" else _settle)(node, high)


def settle_known(graph: ir.Graph) -> None:
    """Where decisions that are known settle an ``If`` of several, its branch stands in its place."""
    while known := [n for n in ir.traversal.RecursiveGraphIterator(graph) if _known(n) is not None]:
        _replace(known[0], bool(_known(known[0])))


def _known(node: ir.Node) -> bool | None:
    """What decides an ``If`` of several sites, where their routes settle it."""
    if node.op_type != "If" or CALL_KEY not in node.metadata_props or node.inputs[0] is None:
        return None
    return _truth(node.inputs[0])


def _truth(value: ir.Value) -> bool | None:
    """The value of a condition that is made of constants; None where it depends on the input."""
    producer = value.producer()
    if producer is None:
        return None
    if producer.op_type == "Constant" and value.dtype == ir.DataType.BOOL:
        return bool(producer.attributes["value"].as_tensor().numpy())
    parts = [_truth(v) for v in producer.inputs if v is not None]
    if producer.op_type == "Not":
        return None if parts[0] is None else not parts[0]
    if producer.op_type in ("And", "Or"):
        ends = producer.op_type == "Or"  # one of these decides
        return ends if ends in parts else None if None in parts else not ends
    return parts[0] if producer.op_type == "Identity" else None


def _settle(node: ir.Node, holds: bool) -> None:
    """A condition that goes into a decision of several sites is a constant."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    constant = ir.node("Constant", [], {"value": ir.tensor(np.array(holds))})
    constant.outputs[0].name = node.outputs[0].name
    constant.outputs[0].type, constant.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
    graph.insert_before(node, constant)
    ir.convenience.replace_all_uses_with(node.outputs[0], constant.outputs[0])
    graph.remove(node, safe=True)


def _replace(node: ir.Node, high: bool) -> None:
    """The nodes of ``then_branch`` (high) or ``else_branch`` stand in the place of the ``If``."""
    body = node.attributes["then_branch" if high else "else_branch"].as_graph()
    _detach(node.attributes["else_branch" if high else "then_branch"].as_graph())
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    results = list(body.outputs)
    body.outputs.clear()
    for value in list(body.initializers.values()):
        del body.initializers[value.name or ""]
        graph.register_initializer(value)
    nodes = list(body)
    body.remove(nodes)
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, results, strict=True):
        name = old.name
        named = old.is_graph_output()
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        if named:
            old.name, new.name = None, name
    graph.remove(node, safe=True)


def _detach(body: ir.Graph) -> None:
    """No node of a body that goes reads anything any more."""
    for node in ir.traversal.RecursiveGraphIterator(body):
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
