"""Every draw can come of the random node, and a node of which that is not true is found by verify and by lint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from torch import nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.lowering.free_draws import free_draw_failures
from rr_export.parity.verify import verify_points
from tests import nets
from tests.conftest import nodes_named


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return nets.layers(3)


@pytest.fixture(scope="module", params=["explicit", "standalone"])
def made(request: pytest.FixtureRequest, model: nn.Module) -> rr.Bundle:
    return rr.export(model, (nets.example(),), interface=request.param)


def half_the_range(graph: ir.Graph, node: ir.Node) -> None:
    node.attributes["high"] = ir.AttrFloat32("high", 2.0**23)


def the_upper_half(graph: ir.Graph, node: ir.Node) -> None:
    node.attributes["low"] = ir.AttrFloat32("low", 2.0**23)


def sixteen_values(graph: ir.Graph, node: ir.Node) -> None:
    node.attributes["high"] = ir.AttrFloat32("high", 16.0)


def behind(graph: ir.Graph, node: ir.Node, op_type: str, number: float) -> ir.Value:
    """The result of an operator with a number, in place of the random node's."""
    value = node.outputs[0]
    users = list(value.uses())
    constant = ir.node("Constant", [], {"value": ir.tensor(np.array(number))}, name="sabotage.constant")
    changed = ir.node(op_type, [value, constant.outputs[0]], {"fmod": 1} if op_type == "Mod" else {}, name="sabotage")
    constant.outputs[0].name, changed.outputs[0].name = "sabotage.number", "sabotage.out"
    graph.insert_after(node, [constant, changed])
    for usage in users:
        usage.node.replace_input_with(usage.idx, changed.outputs[0])
    return changed.outputs[0]


def sixteen_values_later(graph: ir.Graph, node: ir.Node) -> None:
    behind(graph, node, "Mod", 16.0)


def half_the_range_later(graph: ir.Graph, node: ir.Node) -> None:
    behind(graph, node, "Mul", 0.5)


def never_the_last(graph: ir.Graph, node: ir.Node) -> None:
    behind(graph, node, "Min", 2.0**24 - 2)


def bell_shaped(graph: ir.Graph, node: ir.Node) -> None:
    node.op_type = "RandomNormalLike"
    for name in ("low", "high"):
        node.attributes.pop(name)


SABOTAGES: list[Callable[[ir.Graph, ir.Node], None]] = [
    half_the_range,
    the_upper_half,
    sixteen_values,
    sixteen_values_later,
    half_the_range_later,
    never_the_last,
    bell_shaped,
]


def sabotaged(bundle: rr.Bundle, change: Callable[[ir.Graph, ir.Node], None]) -> rr.Bundle:
    broken = rr.Bundle(ir.from_proto(ir.to_proto(bundle.model)), bundle.manifest, bundle.golden)
    change(broken.model.graph, nodes_named(broken.model, "RandomUniformLike")[0])
    return broken


def test_the_random_node_of_an_exported_file_holds(made: rr.Bundle) -> None:
    assert free_draw_failures(made.model, made.manifest["interface"], 3) == []
    assert free_draw_failures(made.model, "host", 3) == []


@pytest.mark.parametrize("change", SABOTAGES)
def test_sabotage_a_random_node_that_draws_less(
    made: rr.Bundle, change: Callable[[ir.Graph, ir.Node], None], tmp_path: Path
) -> None:
    broken = sabotaged(made, change)
    found = free_draw_failures(broken.model, made.manifest["interface"], 3)
    assert found and all(text.startswith("random node: expected") for text in found)
    broken.save(tmp_path / "broken.onnx")
    findings = [f for f in rr.lint(tmp_path / "broken.onnx") if f.code == "RR304"]
    assert len(findings) == 1 and "random node" in findings[0].message


def test_bug_verify_took_a_random_node_that_draws_less(model: nn.Module, made: rr.Bundle) -> None:
    broken = sabotaged(made, half_the_range)
    with broken.folder() as folder:
        (check,) = verify_points(broken, folder, bind(model, (nets.example(),)), points=("law",))
    assert any(text.startswith("random node: expected") for text in check.failures)
