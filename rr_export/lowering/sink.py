"""Selects -> balanced trees of ``If``, with the placed nodes in their bodies.

before:  route, a.., b.., c..  ->  rr::Select(route, a, b, c)            (all computed)
after:   If(route >= 1){ If(route >= 2){ c.. }{ b.. } }{ a.. }           (one computed)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from rr_export.bundle.site_keys import CALL_KEY as CALL_KEY
from rr_export.bundle.site_keys import MIDDLE_KEY as MIDDLE_KEY
from rr_export.bundle.site_keys import SITE_KEY as SITE_KEY
from rr_export.capture.origins import SCOPE_KEY
from rr_export.laws.plan import Plan
from rr_export.lowering.builder import Builder
from rr_export.lowering.placement import MARKERS, Placement, Scope, parse_scope

if TYPE_CHECKING:
    from rr_export.capture.captured_model import Captured

# On every If of a site: the site's index, the call's number, the least route of then_branch, and which of the call's
# branches that is, if that is another number. An If that several decisions or the input decide has only the call's
# number and the branch; a Squeeze that hands a condition of a site to such a decision has only the site and the route.
BRANCH_KEY = "rr.branch"

GATE_KEY = "rr.gate"  # on the Identity that hands a condition on the input to what it decides: its number
GATE = "Gate"  # the marker of such a condition
AT_LEAST = "AtLeast"  # the marker of a condition on a route, which the graph computes with

Gates = Mapping[tuple[int, int], ir.Value]


def at_least(marker: ir.Node) -> tuple[int, int]:
    """Returns (site, m) of a marker for ``route of the site >= m``."""
    return marker.attributes["site"].as_int(), marker.attributes["middle"].as_int()


def conditions(builder: Builder, plan: Plan, keys: Sequence[tuple[int, int]], taken: ir.Value) -> Gates:
    """Returns, for every key (site, m), the bool [1] value ``route of the site >= m``.

    Args:
        builder: where the nodes go.
        plan: the sites.
        keys: sorted, each once; every m in 1..K-1 of a site that is used.
        taken: the path taken, int64 [S].
    """
    if not keys:
        return {}
    sites, middles = (np.array(column, dtype=np.int64) for column in zip(*keys, strict=True))
    routes = taken
    if list(sites) != list(range(len(plan.sites))):
        routes = builder.op("Gather", [taken, builder.constant("if_sites", sites)], axis=0)
    passed = builder.op("GreaterOrEqual", [routes, builder.constant("if_routes", middles)])
    if len(keys) == 1:
        return {keys[0]: passed}
    gates = builder.ops("Split", [passed], len(keys), num_outputs=len(keys), axis=0)
    for (site, middle), gate in zip(keys, gates, strict=True):
        gate.name = f"rr/{plan.sites[site].name}>={middle}"
    return dict(zip(keys, gates, strict=True))


def sites_without_if(model: ir.Model, plan: Plan) -> list[str]:
    """Returns the names of sites that are called and have a choice, and no ``If`` of their own."""
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    present = {int(n.metadata_props[SITE_KEY]) for n in nodes if SITE_KEY in n.metadata_props}
    return [s.name for i, s in enumerate(plan.sites) if s.calls and len(s.branches) > 1 and i not in present]


def sink(graph: ir.Graph, captured: Captured, placement: Placement, prelude: Sequence[ir.Node], gates: Gates) -> None:
    """The graph holds the prelude, then everything placed in the main graph; every Select is a tree of ``If``."""
    _Sinker(graph, captured, placement, gates).rebuild(prelude)


class _Sinker:
    def __init__(self, graph: ir.Graph, captured: Captured, placement: Placement, gates: Gates) -> None:
        self.graph, self.captured, self.placement, self.gates = graph, captured, placement, dict(gates)
        self.by_scope: dict[Scope, list[ir.Node]] = {}
        for node in graph:
            if node in placement.scopes:
                self.by_scope.setdefault(placement.scopes[node], []).append(node)
                self._keep_scope(node)

    def rebuild(self, prelude: Sequence[ir.Node]) -> None:
        old = list(self.graph)
        self.graph.remove(old)
        main = self._body(())
        kept = {id(n) for n in main}
        self.graph.extend([*prelude, *main])
        for node in old:
            if id(node) not in kept and node.graph is None:
                for i in range(len(node.inputs)):
                    node.replace_input_with(i, None)

    def _keep_scope(self, node: ir.Node) -> None:
        """The node says in which branches it belongs, those of sites without a choice left out.

        That is where it was captured, or, for shape arithmetic that others need, further out.
        """
        placed = self.placement.scopes[node]
        captured = parse_scope(node.metadata_props.get(SCOPE_KEY, ""))
        real = [(c, k) for c, k in captured if (c, k) in placed and self._branches(c) > 1]
        node.metadata_props[SCOPE_KEY] = "/".join(f"{c}:{k}" for c, k in real)

    def _body(self, scope: Scope) -> list[ir.Node]:
        """The nodes of one scope, in order, with Selects replaced."""
        nodes: list[ir.Node] = []
        for node in self.by_scope.get(scope, ()):
            if node.domain != MARKERS:
                nodes.append(node)
            elif node.op_type == "Select":
                nodes.extend(self._choose(node, scope))
            elif node.op_type == AT_LEAST:
                nodes.append(self._asked(node))
            elif node.op_type == GATE:
                nodes.append(self._gate(node))
        return nodes

    def _gate(self, marker: ir.Node) -> ir.Node:
        """The node that hands on a condition on the input."""
        marks = dict(marker.metadata_props) | {GATE_KEY: str(marker.attributes["decision"].as_int())}
        node = ir.node("Identity", [marker.inputs[0]], metadata_props=marks)
        result, old = node.outputs[0], marker.outputs[0]
        result.name, result.type, result.shape = old.name, ir.TensorType(ir.DataType.BOOL), ir.Shape([])
        ir.convenience.replace_all_uses_with(old, result)
        return node

    def _asked(self, marker: ir.Node) -> ir.Node:
        """The node that gives bool [] where a marker asks whether a route is at least some number."""
        site, middle = at_least(marker)
        marks = dict(marker.metadata_props) | {SITE_KEY: str(site), MIDDLE_KEY: str(middle)}
        node = ir.node("Squeeze", [self.gates[site, middle]], metadata_props=marks)
        result = node.outputs[0]
        result.name = f"rr/{self.captured.plan.sites[site].name}>={middle}/scalar"
        result.type, result.shape = ir.TensorType(ir.DataType.BOOL), ir.Shape([])
        ir.convenience.replace_all_uses_with(marker.outputs[0], result)
        return node

    def _choose(self, select: ir.Node, scope: Scope) -> list[ir.Node]:
        """The tree of ``If`` for one Select; its outputs take the place of the Select's."""
        call = select.attributes["call"].as_int()
        live = self.placement.outputs[call]
        title, *branches = self.captured.names(call)
        earlier = sum(self.captured.names(c)[0] == title for c in range(call))
        name = f"{title}#{earlier}" if earlier else title
        leaves = []
        for k, branch in enumerate(branches):
            nodes = self._body((*scope, (call, k)))  # first: it replaces the Selects that the operands may come from
            operands = [select.inputs[1 + k * len(select.outputs) + j] for j in live]
            leaves.append(self._leaf(f"{name}/{branch}", nodes, operands))
        asks = self._ask_gate(call, select.inputs[0])
        nodes, results = self._tree(leaves, 0, call, name, select.inputs[0])
        names = [f"{name}/out" if len(live) == 1 else f"{name}/out.{j}" for j in live]
        for j, result, label in zip(live, results, names, strict=True):
            result.name = select.outputs[j].name if select.outputs[j].is_graph_output() else label
            ir.convenience.replace_all_uses_with(select.outputs[j], result, replace_graph_outputs=True)
        return [*asks, *nodes]

    def _ask_gate(self, call: int, route: ir.Value | None) -> list[ir.Node]:
        """The conditions on the route of a site that the input decides, made where the site is called."""
        site = self.captured.calls[call].site
        if site not in self.captured.plan.gates:
            return []
        assert route is not None
        builder, name = Builder(self.graph), self.captured.plan.sites[site].name
        for middle in self.captured.firsts(call)[1:]:
            least = builder.constant("least_route", np.array([middle]))
            gate = builder.op("GreaterOrEqual", [route, least])
            gate.name = f"rr/{name}>={middle}"
            gate.type, gate.shape = ir.TensorType(ir.DataType.BOOL), ir.Shape([1])
            self.gates[site, middle] = gate
        return builder.nodes

    def _leaf(self, name: str, nodes: list[ir.Node], operands: Sequence[ir.Value | None]) -> ir.Graph:
        """The body of one branch: its results are made in it, each once."""
        made = {id(v) for node in nodes for v in node.outputs}
        results: list[ir.Value] = []
        for j, operand in enumerate(operands):
            assert operand is not None
            if id(operand) not in made:
                identity = ir.node("Identity", [operand], name=f"{name}/pass.{j}")
                result = identity.outputs[0]
                result.name = f"{name}/result.{j}"
                result.type, result.shape = operand.type, operand.shape
                nodes.append(identity)
                operand = result
            made.discard(id(operand))
            results.append(operand)
        return ir.Graph([], results, nodes=nodes, name=name)

    def _tree(
        self, leaves: list[ir.Graph], first: int, call: int, name: str, decided: ir.Value | None
    ) -> tuple[list[ir.Node], Sequence[ir.Value]]:
        """Nodes and results that choose among ``leaves``, the branches from ``first`` on."""
        if len(leaves) == 1:
            nodes = list(leaves[0])
            results = list(leaves[0].outputs)
            leaves[0].outputs.clear()
            leaves[0].remove(nodes)
            return nodes, results
        half = len(leaves) // 2
        middle = first + half
        low = self._graph(leaves[:half], first, call, name, decided)
        high = self._graph(leaves[half:], middle, call, name, decided)
        span = f"{name}[{first}:{first + len(leaves)}]" if first or len(leaves) < self._branches(call) else name
        condition, marks = self._condition(call, middle, decided)
        node = ir.node(
            "If",
            [condition],
            {"then_branch": high, "else_branch": low},
            num_outputs=len(low.outputs),
            name=span,
            metadata_props=marks,
        )
        for j, (result, like) in enumerate(zip(node.outputs, low.outputs, strict=True)):
            result.name = f"{span}/{j}"
            result.type, result.shape = like.type, like.shape
        return [node], node.outputs

    def _condition(self, call: int, middle: int, decided: ir.Value | None) -> tuple[ir.Value | None, dict[str, str]]:
        """What the If asks whose then_branch begins with branch ``middle``, and how it is marked."""
        site = self.captured.calls[call].site
        if site < 0:
            return decided, {CALL_KEY: str(call), BRANCH_KEY: str(middle)}
        route = self.captured.firsts(call)[middle]
        marks = {SITE_KEY: str(site), CALL_KEY: str(call), MIDDLE_KEY: str(route)}
        return self.gates[site, route], marks | ({BRANCH_KEY: str(middle)} if middle != route else {})

    def _graph(self, leaves: list[ir.Graph], first: int, call: int, name: str, decided: ir.Value | None) -> ir.Graph:
        if len(leaves) == 1:
            return leaves[0]
        nodes, results = self._tree(leaves, first, call, name, decided)
        return ir.Graph([], list(results), nodes=nodes, name=f"{name}[{first}:{first + len(leaves)}]")

    def _branches(self, call: int) -> int:
        return len(self.captured.names(call)) - 1
