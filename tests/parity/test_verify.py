"""The proof holds for what was exported, and every point of it rejects its sabotaged twin."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.errors import ParityError
from rr_export.lowering.deciding_slice import find_value
from rr_export.parity.compare import Comparison
from rr_export.parity.law import count_tests, deviation, law_failures
from rr_export.parity.paths import paths_to_compare
from rr_export.parity.verify import verify_points
from tests import nets
from tests.conftest import DYNAMIC, nodes_named


def verify(bundle: rr.Bundle, model: nn.Module) -> rr.Report:
    return rr.verify(bundle, model, (nets.example(),))


def failed(bundle: rr.Bundle, model: nn.Module, *points: str) -> dict[str, tuple[str, ...]]:
    """Names of the failed checks among these points of the proof, with their failures."""
    with bundle.folder() as folder:
        found = verify_points(bundle, folder, bind(model, (nets.example(),)), points=points)
    return {c.name: c.failures for c in found if c.passed is False}


def test_the_exported_model_is_the_same(any_bundle: rr.Bundle, everything_model: nn.Module) -> None:
    report = verify(any_bundle, everything_model)
    checks = {c.name: c for c in report.checks}
    assert [c.name for c in report.checks] == ["sites", "weights", "paths", "inputs", "streams", "law", "laziness"]
    assert checks["paths"].figures["paths"] == checks["paths"].figures["of"] == (1 + 1 + 2) * 8 * 4
    assert checks["paths"].figures["exhaustive"] is True
    assert {s.partition("=")[0] for s in checks["paths"].figures["other_sizes"]} == {"batch"}
    assert {"batch=1", "batch=2", "batch=16"} <= set(checks["paths"].figures["other_sizes"])
    assert checks["streams"].passed is (None if any_bundle.manifest["interface"] == "standalone" else True)
    text = json.dumps(report.to_json())
    assert json.loads(text)["passed"] is True
    assert "the same model" in str(report)


def test_a_plain_model_is_compared_too() -> None:
    model = nn.Sequential(nn.Linear(nets.WIDTH, 3), nn.ReLU()).eval()
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(model, (nets.example(),))
    report = verify(bundle, model)
    assert {c.name: c.passed for c in report.checks} == {"sites": None, "weights": True, "paths": True, "inputs": True}


@pytest.fixture
def twin(everything_bundle: rr.Bundle, everything_model: nn.Module) -> tuple[rr.Bundle, nn.Module]:
    """A fresh bundle to break, and the model."""
    model = ir.from_proto(ir.to_proto(everything_bundle.model))
    return rr.Bundle(model, copy.deepcopy(everything_bundle.manifest), everything_bundle.golden), everything_model


def constant(bundle: rr.Bundle, name: str) -> ir.Value:
    return next(v for n, v in bundle.model.graph.initializers.items() if n.startswith(name))


def replace(value: ir.Value, array: Any) -> None:
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)


def test_sabotage_wrong_probabilities(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    thresholds = constant(bundle, "rr/thresholds")
    assert thresholds.const_value is not None
    replace(thresholds, thresholds.const_value.numpy() * 9 // 10)
    assert {"streams", "law"} <= set(failed(bundle, model, "streams", "law"))


@pytest.mark.parametrize("interface", ["explicit", "host", "standalone"])
def test_sabotage_a_threshold_off_by_one_draw(everything_model: nn.Module, interface: str) -> None:
    """Far too little for statistics; the decoder is asked on both sides of every threshold."""
    bundle = rr.export(everything_model, (nets.example(),), dynamic_shapes=DYNAMIC, interface=interface)
    thresholds = constant(bundle, "rr/thresholds")
    assert thresholds.const_value is not None
    array = thresholds.const_value.numpy()
    replace(thresholds, array + (1 if array.dtype == np.int64 else np.float32(2.0**-23)))
    found = failed(bundle, everything_model, "law")
    assert any("expected draw" in text for text in found["law"])


def test_sabotage_wrong_probabilities_in_the_manifest(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    bundle.manifest["sites"][0]["policy"]["probabilities"] = [[0.5, 0.25, 0.25]]
    assert "sites" in failed(bundle, model, "sites")


def test_sabotage_swapped_branches(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    choice = next(n for n in nodes_named(bundle.model, "If") if n.name == "second")
    then, other = (choice.attributes[k].as_graph() for k in ("then_branch", "else_branch"))
    choice.attributes["then_branch"] = ir.AttrGraph("then_branch", other)
    choice.attributes["else_branch"] = ir.AttrGraph("else_branch", then)
    assert {"paths", "laziness"} <= set(failed(bundle, model, "paths", "laziness"))


def test_sabotage_merged_sites(twin: tuple[rr.Bundle, nn.Module]) -> None:
    """Two sites that share their draw agree in law alone, and not in pairs."""
    bundle, model = twin
    steps = constant(bundle, "rr/steps")
    assert steps.const_value is not None
    array = steps.const_value.numpy().copy()
    array[5] = array[0]
    replace(steps, array)
    found = failed(bundle, model, "streams", "law")
    assert "law" in found and any("sites 'op' and 'sets'" in text for text in found["law"])
    assert "streams" in found


def test_sabotage_a_frozen_route(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    choice = next(n for n in nodes_named(bundle.model, "If") if n.name == "second")
    frozen = ir.node("Constant", [], {"value": ir.tensor(np.array([True]))}, name="frozen")
    bundle.model.graph.insert_before(choice, frozen)
    choice.replace_input_with(0, frozen.outputs[0])
    frozen.outputs[0].name = "frozen"
    assert {"paths", "laziness"} <= set(failed(bundle, model, "paths", "laziness"))


def test_sabotage_a_perturbed_weight(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    weight = constant(bundle, "second.layer.up.weight")
    assert weight.const_value is not None
    array = weight.const_value.numpy().copy()
    array[3, 2] += 0.01
    replace(weight, array)
    found = failed(bundle, model, "paths")
    assert all("further apart" in text for text in found["paths"])


def test_sabotage_a_branch_computed_outside(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    choice = next(n for n in nodes_named(bundle.model, "If") if n.name == "second")
    body = choice.attributes["then_branch"].as_graph()
    for node in list(body)[:2]:
        body.remove(node)
        bundle.model.graph.insert_before(choice, node)
    found = failed(bundle, model, "paths", "streams", "laziness")
    assert set(found) == {"laziness"}


def test_sabotage_a_random_node_with_a_seed(twin: tuple[rr.Bundle, nn.Module]) -> None:
    """A fixed seed makes every session begin alike; only first runs of many sessions show it."""
    bundle, model = twin
    random = nodes_named(bundle.model, "RandomUniformLike")[0]
    random.attributes["seed"] = ir.AttrFloat32("seed", 3.0)
    found = failed(bundle, model, "streams", "law", "laziness")
    assert set(found) == {"law"}
    assert all(text.startswith("random node, first run") for text in found["law"])


def insert(bundle: rr.Bundle, after: ir.Value, op_type: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
    """A new node behind ``after`` in the main graph."""
    node = ir.node(op_type, inputs, attributes)
    anchor = after.producer()
    if anchor is None:
        bundle.model.graph.insert_before(bundle.model.graph[0], node)
    else:
        bundle.model.graph.insert_after(anchor, node)
    node.name = node.outputs[0].name = f"sabotage.{op_type}.{len(list(bundle.model.graph))}"
    return node.outputs[0]


def graph_input(bundle: rr.Bundle, name: str) -> ir.Value:
    return next(v for v in bundle.model.graph.inputs if v.name == name)


def number(bundle: rr.Bundle, value: int) -> ir.Value:
    constant = ir.Value(name=f"sabotage.{value}", const_value=ir.tensor(np.array(value), name=f"sabotage.{value}"))
    constant.type, constant.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([])
    bundle.model.graph.register_initializer(constant)
    return constant


def test_sabotage_outputs_that_differ_when_the_random_node_decides(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    seed = graph_input(bundle, "rr_seed")
    is_free = insert(bundle, seed, "Less", [seed, number(bundle, 0)])
    added = insert(bundle, is_free, "Cast", [is_free], to=ir.DataType.FLOAT)
    output = bundle.model.graph.outputs[0]
    output.name = "y.before"
    changed = insert(bundle, output, "Add", [output, added])
    changed.name, changed.type, changed.shape = "y", output.type, output.shape
    bundle.model.graph.outputs[0] = changed
    found = failed(bundle, model, "paths", "streams", "law")
    assert set(found) == {"streams"} and all(text.startswith("random node") for text in found["streams"])


def test_sabotage_forcing_one_site_moves_the_draws_of_others(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    path = graph_input(bundle, "rr_path")
    draws = find_value(bundle.model.graph, "rr_draws")
    most = insert(bundle, path, "ReduceMax", [path], keepdims=0)
    free = insert(bundle, most, "Less", [most, number(bundle, 0)])
    factor = insert(bundle, free, "Cast", [free], to=ir.DataType.INT64)
    users = list(draws.uses())
    moved = insert(bundle, draws, "Mul", [draws, factor])
    for usage in users:
        usage.node.replace_input_with(usage.idx, moved)
    found = failed(bundle, model, "paths", "streams", "law")
    assert "streams" in found and all("path [" in text for text in found["streams"])


def test_sabotage_routes_above_the_last_are_not_clipped(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = twin
    for node in nodes_named(bundle.model, "Min"):
        assert node.inputs[0] is not None
        ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
    assert set(failed(bundle, model, "paths", "streams", "law")) == {"streams"}


def test_sabotage_a_file_that_computes_everything(twin: tuple[rr.Bundle, nn.Module]) -> None:
    """Without its Ifs, or without what they say of themselves, nothing is proven lazy."""
    bundle, model = twin
    for node in nodes_named(bundle.model, "If"):
        node.metadata_props.clear()
    found = failed(bundle, model, "laziness")
    assert any("site 'sets': expected an If of its own, got none" in text for text in found["laziness"])


def test_every_branch_of_a_wide_site_is_profiled() -> None:
    model = rr.OperationChoice([nets.Mlp(float(k)) for k in range(20)], rr.Uniform(20)).eval()
    bundle = rr.export(model, (nets.example(),))
    with bundle.folder() as folder:
        (check,) = verify_points(bundle, folder, bind(model, (nets.example(),)), points=("laziness",))
    assert check.passed and sorted(p[0] for p in check.figures["profiled_paths"]) == list(range(20))


def test_sabotage_an_eager_model_that_draws_otherwise(
    twin: tuple[rr.Bundle, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, model = twin
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *size, **options: rand(*size, **options) ** 1.2)
    found = failed(bundle, model, "streams", "law", "laziness")
    assert set(found) == {"law"} and all(text.startswith("eager free draws") for text in found["law"])


def test_another_model_is_rejected(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, _ = twin
    assert set(failed(bundle, nets.layers(2))) == {"sites"}


COMPARISONS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    (r"expected outputs \['y', 'n'\], got \['y'\]", lambda o: o.pop("n")),
    (r"expected outputs", lambda o: o.update(z=o["n"])),
    (r"output 'y': expected dtype float32, got float64", lambda o: o.update(y=o["y"].astype(np.float64))),
    (r"output 'y': expected shape \(2, 2\), got \(4,\)", lambda o: o.update(y=o["y"].ravel())),
    (r"output 'y': expected NaN and infinities", lambda o: o["y"].__setitem__((0, 0), np.nan)),
    (r"output 'y': expected NaN and infinities", lambda o: o["y"].__setitem__((1, 1), 5.0)),
    (r"output 'y': expected values within rtol .* got 1 of 3", lambda o: o["y"].__setitem__((0, 0), 1.1)),
    (r"output 'n': expected equal values, got 1 different", lambda o: o["n"].__setitem__(0, 8)),
]


@pytest.mark.parametrize(("message", "change"), COMPARISONS)
def test_comparison_rejects(message: str, change: Callable[[dict[str, Any]], Any]) -> None:
    expected = {"y": np.array([[1, 2], [3, np.inf]], np.float32), "n": np.array([7, 7])}
    comparison = Comparison(1e-4, 1e-5)
    assert comparison.add("here", expected, copy.deepcopy(expected))
    got = copy.deepcopy(expected)
    change(got)
    assert not comparison.add("here", expected, got)
    assert re.search(message, comparison.failures[0])


def test_law_rejects_nothing_from_the_law_itself() -> None:
    """False-alarm rate of this test: 200 laws at 1e-6 each."""
    plan = rr.plan_of(nets.everything())
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = rng.random((500, 6), dtype=np.float32)
        latent = np.stack([plan.routes(d) for d in drawn])
        assert law_failures(plan, latent, 1e-6 / count_tests(plan)) == []


def test_the_bound_is_the_relative_entropy() -> None:
    scipy_special = pytest.importorskip("scipy.special")
    q, p = np.linspace(0, 1, 11), np.full(11, 0.3)
    expected = scipy_special.rel_entr(q, p) + scipy_special.rel_entr(1 - q, 1 - p)
    np.testing.assert_allclose(deviation(q, p), expected, atol=1e-12)


def test_many_paths_are_covered_pairwise() -> None:
    plan = rr.plan_of(nets.layers(24))
    paths, total, every = paths_to_compare(plan, 256)
    assert total == 2**24 and not every and len(paths) < 100
    for i in range(24):
        for j in range(i):
            assert len({(p[i], p[j]) for p in paths}) == 4


def test_a_failed_proof_is_an_error_with_its_report(twin: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, _ = twin
    with pytest.raises(ParityError, match=r"(?s)expected the same model, got differences.*FAILS") as caught:
        verify(bundle, nets.layers(2))
    assert caught.value.report is not None and not caught.value.report.passed


def test_max_paths_of_nothing(twin: tuple[rr.Bundle, nn.Module]) -> None:
    with pytest.raises(ValueError, match="max_paths of at least 1, got 0"):
        rr.verify(twin[0], twin[1], (nets.example(),), max_paths=0)


@pytest.mark.parametrize("options", [{"atol": float("nan")}, {"rtol": -1.0}, {"rtol": float("inf")}])
def test_tolerances_that_accept_everything(twin: tuple[rr.Bundle, nn.Module], options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"finite and >= 0"):
        rr.verify(twin[0], twin[1], (nets.example(),), **options)


def test_a_model_in_training_mode_is_not_verified(twin: tuple[rr.Bundle, nn.Module]) -> None:
    model = copy.deepcopy(twin[1]).train()
    with pytest.raises(ValueError, match=r"expected evaluation mode"):
        rr.verify(twin[0], model, (nets.example(),))


def test_bug_shape_arithmetic_shared_by_branches_is_not_misplaced() -> None:
    model = nn.Sequential(
        *(rr.LayerChoice(nn.TransformerEncoderLayer(nets.WIDTH, 2, 16, batch_first=True), 0.5) for _ in range(2))
    ).eval()
    x = torch.randn(3, 5, nets.WIDTH)
    bundle = rr.export(model, (x,), dynamic_shapes={"input": {0: "batch", 1: "time"}})
    with bundle.folder() as folder:
        checks = verify_points(bundle, folder, bind(model, (x,)), points=("paths", "laziness"))
    assert [c.failures for c in checks if not c.passed] == []


def test_a_saved_bundle_is_verified_in_place(saved: Path, everything_model: nn.Module) -> None:
    report = rr.verify(saved, everything_model, (nets.example(),), max_paths=20)
    assert report.passed and report.subject == str(saved)
    assert not next(c for c in report.checks if c.name == "paths").figures["exhaustive"]


def test_the_golden_cases_are_right(saved: Path) -> None:
    from rr_runtime import Session

    session = Session(saved)
    assert session.check() == len(session.manifest.golden) > 3  # every branch is in one


def test_metadata_holds_the_manifest(everything_proto: onnx.ModelProto) -> None:
    manifest = json.loads({p.key: p.value for p in everything_proto.metadata_props}["rr.manifest"])
    assert [s["name"] for s in manifest["sites"]] == ["op", "op.branches.2.0", "first", "second", "shared", "sets"]
    thresholds = numpy_helper.to_array(next(t for t in everything_proto.graph.initializer if "thresholds" in t.name))
    assert thresholds.dtype == np.int64  # whole draws: no converter to half precision and no quantiser touches them
