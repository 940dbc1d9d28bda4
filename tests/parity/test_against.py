"""A file that another tool has rewritten is proven again, and every sabotaged twin is rejected."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.transformers import float16
from torch import nn
from torch.nn import functional as F

import rr_export as rr
from rr_export.errors import ParityError
from rr_export.lowering.sink import SITE_KEY
from rr_export.parity.against import POINTS, check_points
from rr_export.parity.terms import Terms
from tests import nets
from tests.conftest import DYNAMIC, nodes_named


def failed(file: Path, folder: Path, points: Collection[str], atol: float = 1e-5, share: float = 0.0) -> set[str]:
    """Names of the failed checks among these points of the proof."""
    bundle = rr.load(folder)
    inputs = bundle.golden[0].inputs
    terms = Terms(atol=atol, share=share, max_paths=10)
    return {c.name for c in check_points(file, bundle, folder, inputs, terms, points=points) if c.passed is False}


@pytest.fixture(scope="session")
def any_saved(any_bundle: rr.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per interface; tests must not change it."""
    bundle = rr.Bundle(any_bundle.model.clone(), any_bundle.manifest, any_bundle.golden)
    return bundle.save(tmp_path_factory.mktemp("against") / "bundle")


def saved_by_onnxruntime(source: Path, target: Path) -> Path:
    """What onnxruntime's optimiser makes of a file, in the format that the target's name says."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    if target.suffix == ".ort":
        options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return target


@pytest.mark.parametrize("name", ["model.onnx", "model.ort"])
def test_what_onnxruntime_saves_is_the_same_model(any_saved: Path, name: str, tmp_path: Path) -> None:
    file = saved_by_onnxruntime(any_saved / "model.onnx", tmp_path / name)
    assert failed(file, any_saved, {*POINTS} - {"law"}) == set()
    assert rr.lint(file) == []


def test_the_whole_proof(saved: Path, tmp_path: Path) -> None:
    file = saved_by_onnxruntime(saved / "model.onnx", tmp_path / "model.onnx")
    report = rr.verify_against(file, saved, max_paths=20)
    assert tuple(c.name for c in report.checks) == tuple(point for point in POINTS if point != "data")
    assert all(c.passed for c in report.checks)
    assert report.checks[2].figures["outputs"] > 60
    assert "the same model" in str(report)


def test_a_quantised_file_needs_a_tolerance(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "quantised.onnx"
    _quantise(saved / "model.onnx", file)
    points = {*POINTS} - {"law"}
    assert failed(file, saved, points) == {"paths", "streams"}
    assert failed(file, saved, points, atol=0.05) == set()
    assert failed(file, saved, points, share=0.001) == {"paths", "streams"}
    folder = rr.export(nets.layers(4), (nets.example(),)).save(tmp_path / "layers")
    _quantise(folder / "model.onnx", tmp_path / "layers.onnx")
    assert failed(tmp_path / "layers.onnx", folder, points) == {"paths", "streams"}
    assert failed(tmp_path / "layers.onnx", folder, points, share=0.1) == set()


def _quantise(source: Path, target: Path) -> None:
    """Without reduce_range, sums overflow on processors without VNNI."""
    quantize_dynamic(source, target, reduce_range=True, extra_options={"EnableSubgraph": True})


def test_without_a_manifest_the_bundle_says_what_the_file_should_be(saved: Path, tmp_path: Path) -> None:
    model = onnx.load(saved / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    assert failed(tmp_path / "bare.onnx", saved, {*POINTS} - {"law"}) == set()


def test_a_plain_model_is_compared_too(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(nets.WIDTH, 3), nn.ReLU()).eval()
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(model, (nets.example(),))
    folder = bundle.save(tmp_path / "plain")
    report = rr.verify_against(saved_by_onnxruntime(folder / "model.onnx", tmp_path / "m.onnx"), bundle)
    assert [c.name for c in report.checks] == ["contract", "weights", "paths", "nearest"]


# Sabotage: from a model, broken in place, to the checks that must fail.


def swap(model: ir.Model) -> None:
    choice = next(n for n in nodes_named(model, "If") if n.name == "second")
    then, other = (choice.attributes[k].as_graph() for k in ("then_branch", "else_branch"))
    choice.attributes["then_branch"] = ir.AttrGraph("then_branch", other)
    choice.attributes["else_branch"] = ir.AttrGraph("else_branch", then)


def merge(model: ir.Model) -> None:
    first, other = (next(n for n in nodes_named(model, "If") if n.name == name) for name in ("first", "shared"))
    other.replace_input_with(0, first.inputs[0])


def freeze(model: ir.Model) -> None:
    choice = next(n for n in nodes_named(model, "If") if n.metadata_props.get(SITE_KEY) == "2")
    constant = ir.node("Constant", [], {"value": ir.tensor(np.array([True]))})
    model.graph.insert_before(next(iter(model.graph)), constant)
    for node in nodes_named(model, "If"):
        if node.inputs[0] is choice.inputs[0] and node is not choice:
            node.replace_input_with(0, constant.outputs[0])
    choice.replace_input_with(0, constant.outputs[0])


def perturb(name: str, by: float) -> Callable[[ir.Model], None]:
    def broken(model: ir.Model) -> None:
        for graph in model.graphs():
            for key, value in graph.initializers.items():
                if key.startswith(name):
                    array = value.const_value.numpy()
                    value.const_value = ir.tensor((array + by).astype(array.dtype), name=key)

    return broken


def fold_random_node(model: ir.Model) -> None:
    (node,) = nodes_named(model, "RandomUniformLike")
    constant = ir.node("Constant", [], {"value": ir.tensor(np.full(6, 123456.0, np.float32))})
    model.graph.insert_before(node, constant)
    ir.convenience.replace_all_uses_with(node.outputs[0], constant.outputs[0])
    model.graph.remove(node, safe=True)


def compute_outside(model: ir.Model) -> None:
    """The product in a branch is computed in the main graph, taken or not."""
    choice = next(n for n in nodes_named(model, "If") if n.name == "first")
    body = choice.attributes["then_branch"].as_graph()
    product = next(n for n in body if n.op_type in ("Gemm", "MatMul"))
    upstream = [n for n in body if n is product or n.outputs[0] in product.inputs]
    for value in product.inputs:
        if value is not None and value.name in body.initializers:
            del body.initializers[value.name]
            model.graph.register_initializer(value)
    for node in upstream:
        body.remove(node)
        model.graph.insert_before(choice, node)


@pytest.mark.parametrize(
    ("sabotage", "caught"),
    [
        pytest.param(swap, {"paths", "nearest", "streams"}, id="swapped branches"),
        pytest.param(merge, {"contract", "paths", "nearest", "streams"}, id="merged sites"),
        pytest.param(freeze, {"contract", "paths", "nearest", "streams"}, id="a frozen site"),
        pytest.param(perturb("rr/thresholds", 1), {"contract", "law"}, id="thresholds off by one draw"),
        pytest.param(perturb("rr/steps", 2), {"contract", "streams"}, id="another generator"),
        pytest.param(perturb("pre.weight", 0.01), {"paths", "streams"}, id="a perturbed weight"),
        pytest.param(fold_random_node, {"contract", "law"}, id="a folded random node"),
        pytest.param(compute_outside, {"laziness"}, id="a branch computed outside"),
    ],
)
def test_sabotage(saved: Path, sabotage: Callable[[ir.Model], None], caught: set[str], tmp_path: Path) -> None:
    model = ir.load(saved / "model.onnx")
    sabotage(model)
    ir.save(model, tmp_path / "broken.onnx")
    assert failed(tmp_path / "broken.onnx", saved, caught) == caught


def test_a_branch_computed_outside_gives_the_same_outputs(saved: Path, tmp_path: Path) -> None:
    model = ir.load(saved / "model.onnx")
    compute_outside(model)
    ir.save(model, tmp_path / "broken.onnx")
    assert failed(tmp_path / "broken.onnx", saved, {*POINTS} - {"law"}) == {"laziness"}


def test_a_tolerance_hides_no_swap(saved: Path, tmp_path: Path) -> None:
    model = ir.load(saved / "model.onnx")
    swap(model)
    ir.save(model, tmp_path / "broken.onnx")
    points = {"contract", "paths", "nearest", "streams"}
    assert failed(tmp_path / "broken.onnx", saved, points, atol=100.0) == {"nearest"}


def test_a_file_that_does_not_load_is_said_to(saved: Path, tmp_path: Path) -> None:
    model = ir.load(saved / "model.onnx")
    next(iter(nodes_named(model, "If"))).domain = "nowhere"
    ir.save(model, tmp_path / "broken.onnx")
    with pytest.raises(ParityError, match="onnxruntime loads"):
        rr.verify_against(tmp_path / "broken.onnx", saved)


def test_bad_arguments(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(rr.RRExportError, match="expected an ONNX model"):
        rr.verify_against(tmp_path / "nothing.onnx", saved)
    with pytest.raises(ValueError, match="expected a share of at least 0 and below 1, got 2"):
        rr.verify_against(saved / "model.onnx", saved, share=2)
    with pytest.raises(ValueError, match="max_paths of at least 1"):
        rr.verify_against(saved / "model.onnx", saved, max_paths=0)
    single = rr.export(nets.layers(2), (nets.example(),), dynamic_shapes={"input": DYNAMIC["x"]})
    file = single.save(tmp_path / "single.onnx")
    with pytest.raises(ValueError, match="expected inputs, or a bundle folder with golden cases"):
        rr.verify_against(file, file)
    assert rr.verify_against(file, file, inputs={"input": nets.example().numpy()}).passed


@pytest.mark.parametrize("interface", ["explicit", "standalone"])
def test_bug_small_constants_in_external_data(interface: str, tmp_path: Path) -> None:
    """The part that decides is opened from memory, where no file lies beside it."""
    bundle = rr.export(nets.layers(40), (nets.example(),), interface=interface)
    folder = bundle.save(tmp_path / "bundle")
    ir.save(ir.load(folder / "model.onnx"), tmp_path / "external.onnx", external_data="weights")
    assert rr.lint(tmp_path / "external.onnx") == []
    assert failed(tmp_path / "external.onnx", folder, {*POINTS} - {"law", "streams"}) == set()
    (tmp_path / "weights").unlink()
    assert {(f.code, f.severity) for f in rr.lint(tmp_path / "external.onnx")} == {("RR001", "note")}


def change_manifest(model: onnx.ModelProto, change: Callable[[dict[str, Any]], None]) -> None:
    (entry,) = (p for p in model.metadata_props if p.key == "rr.manifest")
    manifest = json.loads(entry.value)
    change(manifest)
    entry.value = json.dumps(manifest)


def swap_names(manifest: dict[str, Any]) -> None:
    a, b = manifest["sites"][2], manifest["sites"][3]
    a["name"], b["name"] = b["name"], a["name"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest: manifest.clear(), id="broken"),
        pytest.param(lambda manifest: manifest.update(interface="host"), id="another interface"),
        pytest.param(swap_names, id="swapped names"),
    ],
)
def test_bug_a_manifest_of_its_own_that_says_something_else(
    saved: Path, change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    model = onnx.load(saved / "model.onnx")
    change_manifest(model, change)
    onnx.save(model, tmp_path / "changed.onnx")
    assert failed(tmp_path / "changed.onnx", saved, {"contract"}) == {"contract"}


def test_bug_an_input_with_a_default(saved: Path, tmp_path: Path) -> None:
    model = onnx.load(saved / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.full(6, -1), "rr_path"))
    onnx.save(model, tmp_path / "default.onnx")
    assert failed(tmp_path / "default.onnx", saved, {"contract"}) == {"contract"}


def test_bug_seeds_that_lose_bits(saved: Path, tmp_path: Path) -> None:
    """Seeds above 2^53 go through a float64."""
    model = ir.load(saved / "model.onnx")
    (seed,) = (v for v in model.graph.inputs if v.name == "rr_seed")
    users = list(seed.uses())
    nodes = [ir.node("Cast", [seed], {"to": ir.DataType.DOUBLE})]
    nodes.append(ir.node("Cast", [nodes[0].outputs[0]], {"to": ir.DataType.INT64}))
    for node in reversed(nodes):
        model.graph.insert_before(model.graph[0], node)
    for user in users:
        user.node.replace_input_with(user.idx, nodes[1].outputs[0])
    ir.save(model, tmp_path / "rounded.onnx")
    assert failed(tmp_path / "rounded.onnx", saved, {"streams"}) == {"streams"}


class Einsum(nn.Module):
    """A branch without a single operator that has weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,kj->ik", x, x).softmax(1) @ x


def test_bug_a_branch_without_weights_computed_outside(tmp_path: Path) -> None:
    bundle = rr.export(nets.pair(nn.Identity(), Einsum()), (nets.example(),))
    folder = bundle.save(tmp_path / "bundle")
    model = ir.load(folder / "model.onnx")
    (choice,) = nodes_named(model, "If")
    body = choice.attributes["then_branch"].as_graph()
    for node in [n for n in body if n.op_type == "Softmax" or n.op_type.endswith("sum") or n.op_type == "MatMul"][:-1]:
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer.graph is body:
                body.remove(producer)
                model.graph.insert_before(choice, producer)
        body.remove(node)
        model.graph.insert_before(choice, node)
    ir.save(model, tmp_path / "outside.onnx")
    assert failed(tmp_path / "outside.onnx", folder, {*POINTS} - {"law"}) == {"laziness"}


class Attending(nn.Module):
    """Attention as torch writes it: half a softmax is many nodes, as onnxruntime has no kernel for it."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.out = nn.Linear(nets.WIDTH, nets.WIDTH), nn.Linear(nets.WIDTH, nets.WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.query(x)[:, None]
        result: torch.Tensor = x + self.out(F.scaled_dot_product_attention(q, q, q, is_causal=True)[:, 0])
        return result


def test_bug_attention_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [rr.OperationChoice([Attending(), nn.Sequential(rr.LayerChoice(Attending(), 0.5))], rr.Uniform(2))]
    model = nn.Sequential(*layers, rr.LayerChoice(Attending(), 0.7), nn.Linear(nets.WIDTH, 3)).eval()
    folder = rr.export(model, (torch.randn(2, 5, nets.WIDTH),)).save(tmp_path / "bundle")
    half = float16.convert_float_to_float16(onnx.load(folder / "model.onnx"), keep_io_types=True)
    onnx.save(half, tmp_path / "half.onnx")
    assert rr.lint(tmp_path / "half.onnx") == []
    assert failed(tmp_path / "half.onnx", folder, {*POINTS} - {"law"}, share=0.05) == set()


def test_bug_inputs_that_are_no_mapping_raised_what_python_says() -> None:
    with pytest.raises(TypeError, match=r"^inputs: expected arrays by input name, got a list; pass a dictionary$"):
        rr.verify_against("nowhere.onnx", "nowhere", inputs=[{"x": 1}])  # type: ignore[arg-type]
