"""Point 4: only the taken branches are computed, by the graph's structure and by what ONNX Runtime executed.

Where nodes say in which branch they were captured, that is where they must be. What they say proves nothing alone: what
ran is also compared with what the eager model reads and computes (:mod:`waste`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from rr_export.bundle.bundle import Bundle
from rr_export.lowering.sink import MIDDLE_KEY, SITE_KEY
from rr_export.parity.eager_model import Eager
from rr_export.parity.executed import LEVELS, Executable, made_executable
from rr_export.parity.misplaced import misplaced_nodes, missing_gates
from rr_export.parity.paths import paths_taking_everything
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms
from rr_export.parity.waste import wasted_work
from rr_export.report.report import Check


@dataclass(frozen=True)
class SiteIf:
    """What one ``If`` of a site decides: then_branch from route ``middle`` on."""

    site: int
    middle: int


def check_laziness(bundle: Bundle, file: File, eager: Eager, terms: Terms) -> Check:
    """Checks the static placement, and what ran on some paths that together take every branch."""
    if file.interface == "plain":
        return Check("laziness", None, "a model without sites has nothing to skip")
    model = ir.load(file.source)
    failures = missing_gates(model, bundle) + misplaced_nodes(model)
    paths = paths_taking_everything(file.plan)
    executed = 0
    gates = gates_of(model)
    feeds = [file.feeds(eager.inputs, path) for path in paths]
    for number, (level, setting) in enumerate(LEVELS.items()):
        terms.progress("laziness", number, len(LEVELS))
        with made_executable(file.forcible, setting) as executable:
            ran = executable.run(feeds)
            found = [text for path, names in zip(paths, ran, strict=True)
                     for text in _unexpected(executable, gates, path, names)]  # fmt: skip
            if level == "disabled":
                found += wasted_work(executable, paths, ran, eager, file, terms)
        failures += [f"optimisation level {level!r}: {text}" for text in found]
        executed += sum(map(len, ran))
    return Check(
        "laziness",
        not failures,
        f"every node in the branch it was captured in; {executed} executed nodes on {len(paths)} paths, without and "
        "with ONNX Runtime's optimisations, are the taken bodies and nothing else, read the weights that eager reads, "
        "and compute nothing for other branches that eager does not",
        tuple(failures),
        {"profiled_paths": [list(p) for p in paths], "executed_nodes": executed},
    )


def expected_nodes(graph: ir.Graph, gates: Mapping[str, SiteIf], routes: Sequence[int]) -> tuple[set[str], set[str]]:
    """Returns the names of the nodes that must run on a path, and of those that may (the user's own control flow)."""
    must: set[str] = set()
    may: set[str] = set()
    for node in graph:
        if node.op_type == "Constant":
            continue
        must.add(node.name or "")
        gate = gates.get(node.name or "") if node.op_type == "If" else None
        for attribute in node.attributes.values():
            if attribute.type != ir.AttributeType.GRAPH:
                continue
            inner, optional = expected_nodes(attribute.as_graph(), gates, routes)
            if gate is None:
                may |= inner | optional
            elif (routes[gate.site] >= gate.middle) == (attribute.name == "then_branch"):
                must |= inner
                may |= optional
    return must, may


def gates_of(model: ir.Model) -> dict[str, SiteIf]:
    """Returns what every ``If`` of a site decides, by node name."""
    found = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        gate = _gate(node)
        if gate is not None:
            found[node.name or ""] = gate
    return found


def _gate(node: ir.Node) -> SiteIf | None:
    if SITE_KEY not in node.metadata_props:
        return None
    return SiteIf(int(node.metadata_props[SITE_KEY]), int(node.metadata_props[MIDDLE_KEY]))


def _unexpected(executable: Executable, gates: Mapping[str, SiteIf], path: tuple[int, ...], ran: set[str]) -> list[str]:
    """What ran on a path against the bodies that its routes take."""
    own = {name: gates[origin] for name, origin in executable.origins.items() if origin in gates}
    must, may = expected_nodes(executable.model.graph, own, path)
    failures = []
    for kind, wrong in (("not to run", ran - must - may), ("to run", must - ran)):
        if wrong:
            failures.append(
                f"path {list(path)}: expected {sorted(wrong)[:3]} {kind}"
                f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}, got the opposite"
            )
    return failures
