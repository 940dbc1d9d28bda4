"""A routed model -> static segments and the program that walks a path through them.

before:  a; If(0){ b; If(1){ c }{ d } }{ e }; f
after:   files a, b, c, d, e, f, and: run a; choose site 0 of [run b; choose site 1 of [run c | run d] | run e]; run f
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.errors import PackageError
from rr_export.laws.plan import Plan
from rr_export.lowering.sink import CALL_KEY, MIDDLE_KEY, SITE_KEY
from rr_export.passes.unique_names import name_uniquely
from rr_export.targets.reroute import forget_routing
from rr_export.targets.weight_results import make_all_results

Routes = Mapping[int, frozenset[int]]  # by site
JsonStep = dict[str, Any]  # of a program, JSON-ready (runtimes/SPEC.md, section 9)

_NO_SEGMENTS = (
    "segments ask one site at a time, and no value; use form='routed' (--form routed), or frozen=N (--frozen N)"
)


def split(model: ir.Model, plan: Plan, prefix: str) -> tuple[list[JsonStep], dict[str, ir.Model]]:
    """Returns the program and its static models by file name (``prefix.0.onnx``, ...); the model is consumed.

    A value that passes from one file to another has the same name in both. Weights are initializers of every file that
    reads them, and stay one tensor. A branch that only passes a value on has no file. A condition on the input stays an
    ``If`` in the file that it falls into.

    Raises:
        PackageError: what a site decides is decided by something else too.
    """
    _check_sites_decide_alone(model.graph, plan)
    forget_routing(model.graph)
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if SITE_KEY in node.metadata_props:
            node.replace_input_with(0, None)
    ir_passes.RemoveUnusedNodesPass()(model)
    ir_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    make_all_results(model)
    name_uniquely(model)
    cutter = _Cutter(plan, model.graph)
    program = cutter.steps(model.graph, {})
    cutter.release()
    files = {}
    for number, segment in enumerate(cutter.segments):
        name = f"{prefix}.{number}.onnx"
        files[name] = segment.build(model, cutter, name)
        segment.step |= {"run": name}
    return program, files


def _check_sites_decide_alone(graph: ir.Graph, plan: Plan) -> None:
    """Raises a PackageError where a program of sites alone cannot say which file comes next."""
    for node in _all_nodes(graph):
        if SITE_KEY in node.metadata_props and node.op_type != "If":
            raise PackageError(
                f"site {_site_of(node, plan)!r}: expected branches that one site decides each, got one that several "
                f"decisions decide together; {_NO_SEGMENTS}"
            )
        inner = [] if SITE_KEY in node.metadata_props else list(_all_nodes(n for body in _bodies(node) for n in body))
        for site in (other for other in inner if SITE_KEY in other.metadata_props):
            raise PackageError(
                f"site {_site_of(site, plan)!r}: expected a site that no condition on the input stands around, got one "
                f"inside {node.op_type} {node.name!r}; {_NO_SEGMENTS}"
            )


def _site_of(node: ir.Node, plan: Plan) -> str:
    return plan.sites[int(node.metadata_props[SITE_KEY])].name


@dataclass
class _Segment:
    """Nodes that run together, and the step that runs them."""

    nodes: list[ir.Node]
    step: JsonStep = field(default_factory=dict)
    inputs: list[ir.Value] = field(default_factory=list)
    outputs: list[ir.Value] = field(default_factory=list)

    def build(self, source: ir.Model, cutter: _Cutter, name: str) -> ir.Model:
        """Returns the nodes as a model of their own; they leave the graph that they are in."""
        inside = {value for node in _all_nodes(self.nodes) for value in node.outputs}
        for node in _all_nodes(self.nodes):
            inside |= {value for body in _bodies(node) for value in body.initializers.values()}
        stand_ins: dict[ir.Value, ir.Value] = {}
        weights: list[ir.Value] = []
        for node in _all_nodes(self.nodes):
            for index, value in enumerate(node.inputs):
                if value is None or value in inside:
                    continue
                real = cutter.real(value)
                if real in inside:
                    node.replace_input_with(index, real)
                    continue
                if real not in stand_ins:
                    stand_ins[real] = _stand_in(real)
                    (weights if real.is_initializer() else self.inputs).append(
                        stand_ins[real] if real.is_initializer() else real
                    )
                node.replace_input_with(index, stand_ins[real])
        self.step |= {"inputs": [v.name for v in self.inputs], "outputs": [v.name for v in self.outputs]}
        for graph in {id(n.graph): n.graph for n in self.nodes}.values():
            assert isinstance(graph, ir.Graph)
            graph.remove([n for n in self.nodes if n.graph is graph])
        graph = ir.Graph(
            [stand_ins[v] for v in self.inputs],
            self.outputs,
            nodes=self.nodes,
            initializers=weights,
            opset_imports=source.graph.opset_imports,
            name=name.removesuffix(".onnx"),
        )
        return ir.Model(graph, ir_version=source.ir_version)


class _Cutter:
    """Cuts graphs into steps; keeps the segments, and which value stands for which."""

    def __init__(self, plan: Plan, main: ir.Graph) -> None:
        self.plan, self._main = plan, main
        self.segments: list[_Segment] = []
        self._graphs: dict[int, ir.Graph] = {}  # all that were cut
        self._passed: dict[ir.Value, ir.Value] = {}  # a value that is only passed on -> where it comes from

    def real(self, value: ir.Value) -> ir.Value:
        """Returns the value that this one is."""
        while value in self._passed:
            value = self._passed[value]
        return value

    def steps(self, graph: ir.Graph, routes: Routes) -> list[JsonStep]:
        """Returns the steps that compute a graph.

        Args:
            graph: the main graph, or a body.
            routes: those that the sites around it may have.
        """
        self._graphs[id(graph)] = graph
        steps: list[JsonStep] = []
        pending: list[ir.Node] = []
        for node in list(graph):
            if SITE_KEY in node.metadata_props:
                self._flush(pending, steps)
                steps.extend(self._choose(node, routes))
            elif self._is_passing(node):
                assert node.inputs[0] is not None
                self._passed[node.outputs[0]] = node.inputs[0]
            else:
                pending.append(node)
        self._flush(pending, steps)
        return steps

    def release(self) -> None:
        """No graph that was cut claims its outputs any more."""
        for graph in self._graphs.values():
            graph.outputs.clear()

    def _is_passing(self, node: ir.Node) -> bool:
        """Whether the node of a body only hands on a value that some step makes, or that the model is given."""
        if node.op_type != "Identity" or node.domain or node.graph is self._main or node.inputs[0] is None:
            return False
        return not self.real(node.inputs[0]).is_initializer()

    def _choose(self, node: ir.Node, routes: Routes) -> list[JsonStep]:
        """The steps of an ``If``: of one branch where the site's routes leave no other, else one that chooses."""
        for other in _all_nodes([node]):  # also bodies that no route leads to
            if SITE_KEY in other.metadata_props:
                self._graphs |= {id(body): body for body in _bodies(other)}
        site = int(node.metadata_props[SITE_KEY])
        count = self.plan.sites[site].policy.branches
        leaves = {route: _leaf(node, route) for route in sorted(routes.get(site, range(count)))}
        together: dict[int, list[int]] = {}
        for route, leaf in leaves.items():
            together.setdefault(id(leaf), []).append(route)
        branches: dict[int, dict[str, Any]] = {}
        for alike in together.values():
            leaf = leaves[alike[0]]
            steps = self.steps(leaf, {**routes, site: frozenset(alike)})
            if len(together) == 1:
                self._passed.update(zip(node.outputs, leaf.outputs, strict=True))
                return steps
            branch = {"steps": steps, "results": [self.real(v).name for v in leaf.outputs]}
            branches |= dict.fromkeys(alike, branch)
        never = next(iter(branches.values()))  # what a route takes that does not lead here
        every = [branches.get(route, never) for route in range(count)]
        return [{"site": site, "outputs": [v.name for v in node.outputs], "branches": every}]

    def _flush(self, pending: list[ir.Node], steps: list[JsonStep]) -> None:
        if not pending:
            return
        segment = _Segment(list(pending))
        pending.clear()
        mine = set(_all_nodes(segment.nodes))
        for node in segment.nodes:
            for value in node.outputs:
                if value.is_graph_output() or any(usage.node not in mine for usage in value.uses()):
                    segment.outputs.append(value)
        self.segments.append(segment)
        steps.append(segment.step)


def _leaf(node: ir.Node, route: int) -> ir.Graph:
    """The body that a route leads to in the tree of an ``If``."""
    while True:
        high = route >= int(node.metadata_props[MIDDLE_KEY])
        body = node.attributes["then_branch" if high else "else_branch"].as_graph()
        inner = list(body)
        call = node.metadata_props.get(CALL_KEY)
        if len(inner) != 1 or call is None or inner[0].metadata_props.get(CALL_KEY) != call:
            return body
        node = inner[0]


def _bodies(node: ir.Node) -> list[ir.Graph]:
    return [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def _all_nodes(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Yields the nodes, and those in their bodies."""
    for node in nodes:
        yield node
        for body in _bodies(node):
            yield from _all_nodes(body)


def _stand_in(value: ir.Value) -> ir.Value:
    """Returns a value of the same name, type, shape and content for another graph."""
    return ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=value.const_value)
