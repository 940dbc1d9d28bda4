"""In which branch of which site every node of a bundle's files lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rr_runtime.bundle import Bundle
from rr_runtime.segment_program import Run, walk
from rr_runtime.site_law import Site
from rr_runtime.target import Target
from rr_runtime.tools.onnx_file import OnnxGraph, OnnxNode

SITE, CALL, MIDDLE, SCOPE = "rr.site", "rr.call", "rr.middle", "rr.scope"
LARGE = 1024  # elements; smaller weights do not matter
Inside = tuple[tuple[str, int, int], ...]  # around a node: the call, and its routes low <= route < high
Part = tuple[tuple[int, int, int], ...]  # around a node, outermost first: site, and its routes low <= route < high


@dataclass(frozen=True)
class Gate:
    """What the ``If`` of a site decides: its then_branch is taken from route ``middle`` on.

    Attributes:
        site: the site's index.
        call: which call of a site in the model it belongs to.
        middle: the least route of its then_branch.
    """

    site: int
    call: str
    middle: int


@dataclass(frozen=True)
class Place:
    """Where a node lies.

    Attributes:
        name: the node's name.
        op: its operator.
        part: the branches around it.
        gate: what it decides, where it is the ``If`` of a site.
        inside: the names of all nodes in its subgraphs.
        outside_of: the index of the site in whose branch it was captured and does not lie, or None.
        weights_above: how many graphs further out its large weights lie; 0: beside it, or it has none.
    """

    name: str
    op: str
    part: Part
    gate: Gate | None = None
    inside: tuple[str, ...] = field(default=())
    outside_of: int | None = None
    weights_above: int = 0


def gates_in(graph: OnnxGraph) -> dict[str, Gate]:
    """Returns what every ``If`` of a site decides, by the node's name, from the metadata that exports write."""
    found = {}
    for node in graph.all_nodes():
        if SITE in node.metadata and MIDDLE in node.metadata:
            call = node.metadata.get(CALL, node.name)
            found[node.name] = Gate(int(node.metadata[SITE]), call, int(node.metadata[MIDDLE]))
    return found


def places_in(graph: OnnxGraph, gates: Mapping[str, Gate], branches: Sequence[int], around: Part) -> list[Place]:
    """Returns where every node lies, those of subgraphs included, ``Constant`` nodes apart.

    Args:
        graph: the main graph.
        gates: what every ``If`` of a site decides.
        branches: the number of branches of every site.
        around: the branches that the whole file lies in.
    """
    calls = {gate.call: gate.site for gate in gates.values()}
    found: list[Place] = []

    def visit(graph: OnnxGraph, inside: Inside, levels: Mapping[str, tuple[int, int]], depth: int) -> None:
        known = {**levels, **{name: (depth, elements) for name, elements in graph.weights.items()}}
        part = around + tuple((calls[call], low, high) for call, low, high in inside)
        for node in graph.nodes:
            if node.op == "Constant":
                continue
            gate = gates.get(node.name) if node.op == "If" else None
            names = tuple(n.name for body in node.graphs.values() for n in body.all_nodes() if n.op != "Constant")
            far = max((depth - known[v][0] for v in node.inputs if v in known and known[v][1] >= LARGE), default=0)
            found.append(Place(node.name, node.op, part, gate, names, _outside_of(node, inside, calls), far))
            for attribute, body in node.graphs.items():
                visit(body, inside if gate is None else _narrowed(inside, gate, attribute, branches), known, depth + 1)

    visit(graph, (), {}, 0)
    return found


def files_of(bundle: Bundle, target: Target | None) -> dict[Path, Part]:
    """Returns the files of a form (None: the bundle's own model), each with the branches that it lies in.

    Where several branches share a file, it is the first of them.
    """
    if target is None:
        assert bundle.model is not None
        return {bundle.model: ()}
    if target.form == "frozen":
        return {bundle.path / path.model: () for path in target.paths}
    if target.form == "segments":
        found: dict[Path, Part] = {}
        for step, around in walk(target.program):
            if isinstance(step, Run):
                found.setdefault(bundle.path / step.model, tuple((site, k, k + 1) for site, k in around))
        return found
    assert target.model is not None
    return {bundle.path / target.model: ()}


def label(part: Part, sites: Sequence[Site]) -> str:
    """Returns the innermost branch in words, such as ``encoder.0: run``; "outside all branches" for none."""
    if not part:
        return "outside all branches"
    index, low, high = part[-1]
    names = sites[index].branches
    return f"{sites[index].name}: {' or '.join(names[low:high])}"


def _narrowed(inside: Inside, gate: Gate, attribute: str, branches: Sequence[int]) -> Inside:
    """The branches around a subgraph of an ``If``: several of one call form a tree, each narrows the routes."""
    low, high = next(((a, b) for call, a, b in reversed(inside) if call == gate.call), (0, branches[gate.site]))
    routes = (gate.middle, high) if attribute == "then_branch" else (low, gate.middle)
    return (*(entry for entry in inside if entry[0] != gate.call), (gate.call, *routes))


def _outside_of(node: OnnxNode, inside: Inside, calls: Mapping[str, int]) -> int | None:
    for entry in filter(None, node.metadata.get(SCOPE, "").split("/")):
        call, _, branch = entry.partition(":")
        if call in calls and not any(c == call and low <= int(branch) < high for c, low, high in inside):
            return calls[call]
    return None
