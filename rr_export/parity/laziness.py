"""Point 4: only the taken branches are computed, by the graph's structure and by what ONNX Runtime executed."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from rr_export.bundle.bundle import Bundle
from rr_export.capture.recorder import SCOPE_KEY
from rr_export.laws.plan import Plan
from rr_export.lowering.placement import parse_scope
from rr_export.lowering.sink import BRANCH_KEY, CALL_KEY, MIDDLE_KEY, SITE_KEY, sites_without_if
from rr_export.parity.compare import Arrays
from rr_export.parity.report import Check
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms

LEVELS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class SiteIf:
    """What one ``If`` of a site decides: then_branch from route ``middle`` on."""

    site: int
    middle: int


def check_laziness(bundle: Bundle, file: File, inputs: Arrays, terms: Terms) -> Check:
    """Checks the static placement, and the profiles of some paths that together take every branch."""
    if file.interface == "plain":
        return Check("laziness", None, "a model without sites has nothing to skip")
    model = ir.load(file.source)
    failures = missing_gates(model, bundle) + misplaced_nodes(model)
    paths = paths_taking_everything(file.plan)
    executed = 0
    for number, (level, setting) in enumerate(LEVELS.items()):
        terms.progress("laziness", number, len(LEVELS))
        found, nodes = _profile(file, model, inputs, paths, setting)
        failures += [f"optimisation level {level!r}: {text}" for text in found]
        executed += nodes
    return Check(
        "laziness",
        not failures,
        f"every node in the branch it was captured in; {executed} executed nodes on {len(paths)} paths, without and "
        "with ONNX Runtime's optimisations, are the taken bodies and nothing else",
        tuple(failures),
        {"profiled_paths": [list(p) for p in paths], "executed_nodes": executed},
    )


def missing_gates(model: ir.Model, bundle: Bundle) -> list[str]:
    """Returns one sentence per site without an ``If``, those apart whose results nobody reads."""
    idle = bundle.manifest.get("idle", [])
    missing = [name for name in sites_without_if(model, bundle.plan) if name not in idle]
    return [f"site {name!r}: expected an If of its own, got none" for name in missing]


def misplaced_nodes(model: ir.Model) -> list[str]:
    """Returns one sentence per node that was captured in a branch and lies outside it."""
    failures: list[str] = []

    def visit(graph: ir.Graph, inside: tuple[tuple[int, int, int], ...]) -> None:
        for node in graph:
            for call, branch in parse_scope(node.metadata_props.get(SCOPE_KEY, "")):
                if not any(c == call and low <= branch < high for c, low, high in inside):
                    failures.append(
                        f"node {node.name!r} ({node.op_type}): expected it inside branch {branch} of call {call}, "
                        "got it outside"
                    )
                    break
            for attribute in node.attributes.values():
                if attribute.type != ir.AttributeType.GRAPH:
                    continue
                if CALL_KEY not in node.metadata_props:
                    visit(attribute.as_graph(), inside)
                    continue
                call, route = int(node.metadata_props[CALL_KEY]), node.metadata_props.get(MIDDLE_KEY, "")
                middle = int(node.metadata_props.get(BRANCH_KEY, route))
                low, high = next(((a, b) for c, a, b in inside[::-1] if c == call), (0, sys.maxsize))
                part = (call, middle, high) if attribute.name == "then_branch" else (call, low, middle)
                visit(attribute.as_graph(), (*(s for s in inside if s[0] != call), part))

    visit(model.graph, ())
    return failures


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


def paths_taking_everything(plan: Plan) -> list[tuple[int, ...]]:
    """A few paths that together take every branch that can be reached."""
    chosen: list[tuple[int, ...]] = []
    candidates = plan.covering()
    missing = {(i, r) for path in candidates for i, r in enumerate(path) if r >= 0}
    while missing:
        best = max(candidates, key=lambda path: len(missing & set(enumerate(path))))
        chosen.append(best)
        missing -= set(enumerate(best))
    return chosen


def _profile(
    file: File, model: ir.Model, inputs: Arrays, paths: Sequence[tuple[int, ...]], level: int
) -> tuple[list[str], int]:
    """What ran on each path against ONNX Runtime's own saved model of this level; and how many nodes that were."""
    failures: list[str] = []
    executed = 0
    gates = gates_of(model)
    with tempfile.TemporaryDirectory() as scratch:
        optimised = Path(scratch) / "optimised.onnx"
        saving = profiling_options(level)
        saving.optimized_model_filepath = str(optimised)
        # weights beside it: together they may be more than a protobuf can hold
        saving.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        onnxruntime.InferenceSession(file.forcible, saving, providers=["CPUExecutionProvider"])
        graph = ir.load(optimised).graph
        for path in paths:
            options = profiling_options(level)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(scratch) / "profile")
            session = onnxruntime.InferenceSession(file.forcible, options, providers=["CPUExecutionProvider"])
            session.run(None, file.feeds(inputs, path))
            names = [name for name, _ in kernels(Path(session.end_profiling()))]
            must, may = expected_nodes(graph, gates, path)
            executed += len(names)
            for kind, wrong in (("not to run", set(names) - must - may), ("to run", must - set(names))):
                if wrong:
                    failures.append(
                        f"path {list(path)}: expected {sorted(wrong)[:3]} {kind}"
                        f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}, got the opposite"
                    )
    return failures, executed


def profiling_options(level: int) -> onnxruntime.SessionOptions:
    """Returns options for one level of onnxruntime's optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    return options


def kernels(profile: Path) -> Iterator[tuple[str, str]]:
    """Yields name and operator of every node that ran."""
    for event in json.loads(profile.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            yield event["name"].removesuffix(_KERNEL), event["args"]["op_name"]
