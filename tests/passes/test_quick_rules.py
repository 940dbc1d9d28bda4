"""onnxscript's rules: tried less often, with the same result, and its own again afterwards."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
from onnxscript import optimizer, rewriter

from rr_export.capture.request import bind
from rr_export.capture.trace import capture
from rr_export.lowering.lower import lower
from rr_export.passes.quick_rules import quick_rules
from tests import nets


def _count(model: ir.Model) -> int:
    return sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))


def test_the_same_rules_fire() -> None:
    lowered = lower(capture(bind(nets.everything(), (nets.example(),), None, None)), interface="explicit")
    plain, quick = lowered.clone(), lowered.clone()
    optimizer.optimize_ir(plain)
    with quick_rules():
        optimizer.optimize_ir(quick)
    assert str(plain) == str(quick)
    assert _count(plain) < _count(lowered)


def test_rewriting_fires_as_ever() -> None:
    text = """<ir_version: 9, opset_import: ["" : 20]>
        net (float[4, 6] x) => (float[3, 8] y) <int64[2] a = {6, 4}, int64[2] b = {3, 8}> {
            s = Reshape(x, a)
            t = Reshape(s, b)
            y = Relu(t)
        }"""
    plain, quick = (ir.from_onnx_text(text) for _ in range(2))
    rewriter.rewrite(plain)
    with quick_rules():
        rewriter.rewrite(quick)
    assert [node.op_type for node in quick.graph] == [node.op_type for node in plain.graph] == ["Reshape", "Relu"]
    ir_passes.CheckerPass()(quick)


def test_a_rule_is_tried_only_where_it_can_fire(monkeypatch: Any) -> None:
    tried: list[str] = []
    rule: Any = type(rewriter._DEFAULT_REWRITE_RULES[0])
    original = rule.try_rewrite
    monkeypatch.setattr(
        rule, "try_rewrite", lambda self, m, g, n, **o: tried.append(n.op_type) or original(self, m, g, n, **o)
    )
    before = rewriter._DEFAULT_REWRITE_RULES
    text = '<ir_version: 9, opset_import: ["" : 20]> net (float[4] x) => (float[4] y) { y = Sin(x) }'
    with quick_rules():
        rewriter.rewrite(ir.from_onnx_text(text))
    quickly = len(tried)
    rewriter.rewrite(ir.from_onnx_text(text))
    assert quickly <= 1 < len(tried) - quickly
    assert rewriter._DEFAULT_REWRITE_RULES is before
