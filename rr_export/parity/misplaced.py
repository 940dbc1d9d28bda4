"""Which nodes of a file lie outside the branch that they say they were captured in, and which sites have no ``If``."""

from __future__ import annotations

import sys

import onnx_ir as ir

from rr_export.bundle.bundle import Bundle
from rr_export.capture.origins import SCOPE_KEY
from rr_export.lowering.placement import parse_scope
from rr_export.lowering.sink import BRANCH_KEY, CALL_KEY, MIDDLE_KEY, sites_without_if


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
