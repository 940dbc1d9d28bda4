"""QDQ: segments and frozen paths, calibrated on forced paths; wrong data and wrong places are found out."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from rr_export.targets import masks, qdq
from rr_export.targets.calibrate import quantize_segments, record_inputs
from rr_export.targets.freeze import freeze_model
from rr_export.targets.qdq import SCHEMES, quantize_static_model
from rr_export.targets.split import split
from rr_runtime import Session
from rr_runtime.json_node import Node
from rr_runtime.segment_program import Branch, Choose, Run, Step
from rr_runtime.segment_program_reader import read_program
from tests.targets.cases import EIGHT_BITS, NAMES, SIXTEEN_BITS, Case, Form, case, worst_share

PROVIDERS = (*SCHEMES, "cpu")


def segments(of: Case) -> tuple[tuple[Step, ...], dict[str, ir.Model]]:
    about, models = about_and_models(of)
    branches = [site.policy.branches for site in of.bundle.plan.sites]
    return read_program(Node(about["program"], "seg", "program"), branches, models), models


def about_and_models(of: Case) -> tuple[dict, dict[str, ir.Model]]:
    program, models = split(of.model(), of.bundle.plan, "seg")
    return {"form": "segments", "program": program}, models


def quantised(of: Case, provider: str = "qnn") -> Form:
    about, _ = about_and_models(of)
    return about, quantize_segments(*segments(of), of.feeds, provider)


def types_of(model: ir.Model) -> set[ir.DataType]:
    return {node.inputs[2].const_value.dtype for node in model.graph if node.op_type == "QuantizeLinear"}


EACH = [
    *(("mlp", provider) for provider in PROVIDERS),
    *((n, p) for n in ("conv", "attention") for p in ("nnapi", "cpu")),
]


@pytest.mark.parametrize(("name", "provider"), EACH)
def test_every_path_is_near(name: str, provider: str, tmp_path: Path) -> None:
    of = case(name)
    form = quantised(of, provider)
    assert worst_share(of, form, tmp_path) < EIGHT_BITS
    _, before = segments(of)
    changed = {file: model for file, model in form[1].items() if types_of(model)}
    assert len(changed) >= len(before) - 2
    for file, model in changed.items():
        for side in ("inputs", "outputs"):
            old, new = (getattr(m.graph, side) for m in (before[file], model))
            assert [(v.name, v.dtype, v.shape) for v in old] == [(v.name, v.dtype, v.shape) for v in new]
        assert (model.ir_version, model.opset_imports) == (before[file].ir_version, {"": 20})
        assert types_of(model) == {ir.DataType.UINT8}


@pytest.mark.parametrize("name", ["conv", "attention"])
def test_sixteen_bits_between_layers_are_nearer(name: str, tmp_path: Path) -> None:
    of = case(name)
    program, models = segments(of)
    made = quantize_segments(program, models, of.feeds, "qnn", activation_bits=16)
    assert worst_share(of, (about_and_models(of)[0], made), tmp_path) < SIXTEEN_BITS
    changed = [model for model in made.values() if types_of(model)]
    assert len(changed) >= len(models) - 1
    assert all(model.opset_imports == {"": 21} and types_of(model) == {ir.DataType.UINT16} for model in changed)
    norms = [n for m in changed for n in m.graph if n.op_type == "LayerNormalization"]
    assert all(n.inputs[1].producer().inputs[0].const_value.dtype == ir.DataType.UINT8 for n in norms)


def test_bits_that_a_provider_does_not_take_are_refused() -> None:
    of = case("conv")
    for provider, bits, allowed in (("nnapi", 16, "8"), ("qnn", 4, "8 or 16")):
        with pytest.raises(ValueError, match=f"activation_bits: expected {allowed} for {provider}, got {bits}; pass 8"):
            quantize_segments(*segments(of), of.feeds, provider, activation_bits=bits)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_paths_are_near(name: str) -> None:
    of = case(name)
    for path in of.paths[:: max(1, len(of.paths) // 4)]:
        model = freeze_model(of.model(), path)
        model.metadata_props["rr.manifest"] = "{}"
        made = quantize_static_model(model, of.calibration, "qnn")
        assert made.metadata_props == model.metadata_props
        found, wanted = (
            onnxruntime.InferenceSession(ir.to_proto(m).SerializeToString()).run(None, of.inputs)[0]
            for m in (made, model)
        )
        assert np.sqrt(np.mean((found - wanted) ** 2)) < EIGHT_BITS * wanted.std()


def test_nnapi_gets_only_operators_that_it_knows_in_eight_bits() -> None:
    _, models = quantised(case("attention"), "nnapi")
    groups = {
        user.op_type
        for model in models.values()
        for node in model.graph
        if node.op_type == "DequantizeLinear"
        for user in node.outputs[0].consumers()
    }
    assert groups - {"QuantizeLinear", "LayerNormalization", "Gelu", "Split", "Div", "Softmax"} <= {
        *SCHEMES["nnapi"].operators
    }
    layer_norms = [n for m in models.values() for n in m.graph if n.op_type == "LayerNormalization"]
    assert layer_norms
    assert all(
        weight is None or weight.producer() is None for n in layer_norms for weight in n.inputs[1:]
    )  # its weights are float32


def test_a_branch_without_data_is_refused() -> None:
    of = case("conv")
    program, models = segments(of)
    without = [(inputs, path) for inputs, path in of.feeds if path[0] != 1]
    with pytest.raises(ValueError, match=r"expected at least one path that takes branch 1 of site 0 \(segment seg\.2"):
        quantize_segments(program, models, without, "qnn")
    with pytest.raises(ValueError, match="takes the part that every path runs"):
        quantize_segments(program, models, [], "qnn")


def test_a_path_that_does_not_decide_is_refused() -> None:
    of = case("conv")
    program, models = segments(of)
    for path, site in (((-1, 0), 0), ((0, 2), 1)):
        with pytest.raises(ValueError, match=rf"expected a route from 0 to \d at site {site}, .* got {path[site]}"):
            quantize_segments(program, models, [(of.inputs, path)], "qnn")


def test_equal_inputs_are_recorded_once() -> None:
    of = case("conv")
    program, models = segments(of)
    recorded = record_inputs(program, models, of.feeds)
    assert len(recorded["seg.0.onnx"]) == len(of.calibration)
    assert len(recorded["seg.5.onnx"]) == len(of.feeds)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_ranges_from_other_data_are_found_out(name: str, tmp_path: Path) -> None:
    """The sabotaged twin of the calibration: one that shows every branch only a hundredth of its inputs."""
    of = case(name)
    program, models = segments(of)
    small = {
        file: [{k: (a / 100).astype(a.dtype) for k, a in inputs.items()} for inputs in given]
        for file, given in record_inputs(program, models, of.feeds).items()
    }
    made = {file: quantize_static_model(model, small[file], "qnn") for file, model in models.items()}
    with pytest.raises(AssertionError):
        assert worst_share(of, (about_and_models(of)[0], made), tmp_path) < EIGHT_BITS


def test_swapped_segments_are_found_out(tmp_path: Path) -> None:
    of = case("mlp")
    about, models = quantised(of)
    by_border: dict[object, list[str]] = {}
    for file, model in models.items():
        by_border.setdefault(tuple(v.name for v in model.graph.inputs), []).append(file)
    first, second = next(files for files in by_border.values() if len(files) > 1)[:2]
    for old, new in zip(models[first].graph.outputs, models[second].graph.outputs, strict=True):
        old.name, new.name = new.name, old.name
    swapped = {**models, first: models[second], second: models[first]}
    with pytest.raises(AssertionError, match="nearer to"):
        worst_share(of, (about, swapped), tmp_path)


def test_quantising_is_quiet_clean_and_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    of = case("attention")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = list(logging.getLogger().handlers), logging.getLogger().level
    first, second = (
        {file: ir.to_proto(model).SerializeToString() for file, model in quantised(of)[1].items()} for _ in range(2)
    )
    assert first == second
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_model_without_float_arithmetic_stays() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> i (int64[2] x) => (int64[2] y) {y = Add(x, x)}'
    )
    assert quantize_static_model(model, [{"x": np.array([1, 2])}], "qnn") is model


def test_no_feeds_are_refused() -> None:
    with pytest.raises(ValueError, match="main_graph: expected feeds to calibrate with, got none"):
        quantize_static_model(case("conv").model(), [], "qnn")


def test_too_large_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdq, "EXTERNAL_ABOVE", 100)
    with pytest.raises(qdq.PackageError, match="expected weights of at most 100 bytes"):
        quantize_static_model(case("conv").model(), [case("conv").inputs], "qnn")


def test_a_changed_border_is_refused() -> None:
    model, other = case("conv").model(), case("conv").model()
    qdq._check_border(model, other)
    other.graph.outputs[0].name = "else"
    with pytest.raises(qdq.PackageError, match=r"expected the outputs .* after onnxruntime's quantiser"):
        qdq._check_border(model, other)
    older = case("conv").model()
    older.graph.opset_imports[""] = 11
    with pytest.raises(qdq.PackageError, match=r"expected opset 20 .* got 11"):
        qdq._check_border(model, older)


MASKED = """
<ir_version: 10, opset_import: ["" : 20]>
masked (bool[1,4] keep, float[3,4] x) => (float[3,4] y)
<float[4,4] w = {9,1,-2,3,4,-5,6,1,2,8,-1,-2,3,-7,4,1}, float half = {0.5}, float zero = {0.0}, float none = {-3e38}>
{
 bias = Where(keep, zero, none)  h = MatMul(x, w)  scaled = Mul(h, half)
 s = Add(scaled, bias)  p = Softmax<axis = -1>(s)  y = MatMul(p, w)
}
"""


def masked_error(made: ir.Model) -> float:
    feeds = {"keep": np.array([[True, True, False, False]]), "x": np.eye(3, 4, dtype=np.float32) / 4}
    found, wanted = (
        onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, feeds)[0]
        for model in (made, ir.from_onnx_text(MASKED))
    )
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_mask_works_where_the_calibration_shows_none(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    feeds = [{"keep": np.full((1, 4), True), "x": rng.standard_normal((3, 4)).astype(np.float32)} for _ in range(8)]
    feeds.append({"keep": np.full((1, 4), True), "x": np.eye(3, 4, dtype=np.float32)})
    made = quantize_static_model(ir.from_onnx_text(MASKED), feeds, provider)
    assert masked_error(made) < EIGHT_BITS
    assert types_of(made)
    monkeypatch.setattr(qdq, "spread", lambda nodes, wide: set(wide))  # the sabotaged twin: what a mask makes wide
    assert masked_error(quantize_static_model(ir.from_onnx_text(MASKED), feeds, provider)) > EIGHT_BITS


def test_masks_pass_from_segment_to_segment() -> None:
    def segment(text: str) -> ir.Model:
        return ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : 20]> s {text}')

    models = {
        "a": segment("(bool[2] m) => (float[2] bias) <float z = {0.0}, float n = {-1e9}> { bias = Where(m, z, n) }"),
        "b": segment("(float[2] x, float[2] bias) => (float[2] s) { s = Add(x, bias) }"),
        "c": segment("(float[2] t) => (float[2] p, float[2] q) { p = Softmax(t)  q = Mul(t, t) }"),
        "d": segment("(float[2] x) => (float[2] r) { r = Mul(x, x) }"),
    }
    run = {name: Run(name, *_border(model)) for name, model in models.items()}
    choice = Choose(0, ("t",), (Branch((run["b"],), ("s",)), Branch((run["d"],), ("r",))))
    assert masks.wide_borders([run["a"], choice, run["c"]], models) == {"bias", "s", "t", "q"}
    models["a"] = segment("(bool[2] m) => (float[2] bias) <float z = {0.0}, float n = {-9}> { bias = Where(m, z, n) }")
    assert masks.wide_borders([run["a"], choice, run["c"]], models) == set()
    filled = "(int64[1] n) => (float[2] bias) { bias = ConstantOfShape<value = float[1] {-1e9}>(n) }"
    assert masks.wide_borders([run["a"]], {"a": segment(filled)}) == {"bias"}


def _border(model: ir.Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(v.name for v in model.graph.inputs), tuple(v.name for v in model.graph.outputs)


def test_a_quantised_session_tells_its_target(tmp_path: Path) -> None:
    of = case("conv")
    worst_share(of, quantised(of), tmp_path)
    assert "form" in repr(Session(tmp_path / "bundle", target="form"))
