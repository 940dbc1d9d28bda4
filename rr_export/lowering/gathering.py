"""What one branch computes and another one goes on with is computed where it is gone on with.

before:  c1:0 { h }   c2:0 { y = f(h) }     (h is captured in a branch of one call, and read in that of another)
after:   c2:0 { h; y = f(h) }

That is how tensors of different shapes live until their shapes agree: no ``If`` hands them on. It is right wherever the
branch that reads a value is only taken when the one that computes it is, which the diagrams of their decisions say. A
value that several branches read is computed in each of them, by nodes of its own, from the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from rr_export.capture.origins import SCOPE_KEY
from rr_export.capture.python import diagram as dd
from rr_export.errors import LoweringError
from rr_export.lowering.placement import Scope, Usage, Uses, captured_scope, common, encloses, is_select

if TYPE_CHECKING:
    from rr_export.capture.captured_model import Captured

MOST_COPIES = 20_000  # nodes, in all


def gather(graph: ir.Graph, captured: Captured) -> Captured:
    """Every value is computed in branches around all that read it, wherever decisions allow it; returns all calls.

    Raises:
        LoweringError: that takes more than ``MOST_COPIES`` new nodes.
    """
    if any(call.which is not None for call in captured.calls):
        gatherer = _Gatherer(graph, captured)
        gatherer.run()
        return replace(captured, calls=tuple(gatherer.calls))
    return captured


class _Gatherer:
    def __init__(self, graph: ir.Graph, captured: Captured) -> None:
        self.graph, self.calls, self.captured = graph, list(captured.calls), captured
        self.uses = Uses(graph)
        self.copies = 0
        self._conditions: dict[Scope, dd.Diagram] = {(): dd.TRUE}

    def run(self) -> None:
        """From the last node to the first, so that whoever reads a value is in its place already."""
        for node in reversed(list(self.graph)):
            readers = self.uses.of(node)
            if not readers:
                continue
            scope = captured_scope(node)
            if scope is None:
                self.uses.put(node, common([needed for _, needed in readers]))
                continue
            moved: dict[Scope, list[Usage]] = {}
            for usage, needed in readers:
                if not encloses(scope, needed):
                    there = self._nearest(scope, needed)
                    if usage is None or there is None:
                        moved = {}  # it leaves its branch
                        break
                    moved.setdefault(there, []).append(usage)
            if moved and all(not encloses(scope, needed) for _, needed in readers):
                first = next(iter(moved))
                del moved[first]
                node.metadata_props[SCOPE_KEY] = _text(first)
                scope = first
            self.uses.put(node, scope)
            for there, usages in moved.items():
                self._copy(node, there, usages)

    def _nearest(self, scope: Scope, needed: Scope) -> Scope | None:
        """The outermost scope around ``needed`` that is only entered where ``scope`` is; None: there is none."""
        return next((needed[:n] for n in range(1, len(needed) + 1) if self._implies(needed[:n], scope)), None)

    def _implies(self, one: Scope, other: Scope) -> bool:
        if any(self.calls[call].which is None and (call, k) not in one for call, k in other):
            return False
        return dd.apply(lambda a, b: a and not b, self._condition(one), self._condition(other)) is dd.FALSE

    def _condition(self, scope: Scope) -> dd.Diagram:
        """Under which decisions a scope is entered, as far as diagrams say."""
        if scope not in self._conditions:
            call, branch = scope[-1]
            which = self.calls[call].which
            here = dd.TRUE if which is None else dd.apply(lambda k: k == branch, which)
            self._conditions[scope] = dd.both(self._condition(scope[:-1]), here)
        return self._conditions[scope]

    def _copy(self, node: ir.Node, scope: Scope, usages: Sequence[Usage]) -> None:
        """These read a copy of the node, which is computed in their scope."""
        self.copies += 1
        if self.copies > MOST_COPIES:
            name, *_ = self.captured.names(scope[-1][0])
            raise LoweringError(
                f"{name}: expected at most {MOST_COPIES} nodes that are computed for each of several shapes, got more; "
                "let the shapes agree earlier, or make fewer decisions until they do"
            )
        copy = _copied(node)
        copy.metadata_props[SCOPE_KEY] = _text(scope)
        if is_select(node):
            self.calls.append(self.calls[node.attributes["call"].as_int()])
            copy.attributes["call"] = ir.AttrInt64("call", len(self.calls) - 1)
        self.graph.insert_after(node, copy)
        for usage in usages:
            at = next(j for j, value in enumerate(node.outputs) if value is usage.node.inputs[usage.idx])
            usage.node.replace_input_with(usage.idx, copy.outputs[at])
        self.uses.put(copy, scope)


def _copied(node: ir.Node) -> ir.Node:
    """A node that computes the same; the graphs that it runs are its own."""
    attributes = [
        ir.AttrGraph(a.name, a.as_graph().clone(allow_outer_scope_values=True))
        if a.type == ir.AttributeType.GRAPH
        else a
        for a in node.attributes.values()
    ]
    copy = ir.Node(
        node.domain,
        node.op_type,
        node.inputs,
        attributes,
        overload=node.overload,
        num_outputs=len(node.outputs),
        version=node.version,
        metadata_props=dict(node.metadata_props),
    )
    for made, like in zip(copy.outputs, node.outputs, strict=True):
        made.name, made.type, made.shape = like.name, like.type, like.shape
    return copy


def _text(scope: Scope) -> str:
    return "/".join(f"{call}:{branch}" for call, branch in scope)
