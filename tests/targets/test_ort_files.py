"""ONNX Runtime's own format: every form loads from it alone and is equal on every path; the list covers all of it."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import rr_export as rr
from rr_export.bundle.manifest import METADATA_KEY
from rr_export.errors import PackageError
from rr_export.targets import ort_files
from rr_export.targets.freeze import freeze_model
from rr_export.targets.half import to_half
from rr_export.targets.onnxruntime_tools import quiet_tools
from rr_export.targets.ort_files import STYLES, to_ort
from rr_export.targets.reroute import reroute
from rr_export.targets.split import split
from tests.targets.cases import Case, Form, case, worst_share

EQUAL = 1e-5  # measured: at most 4e-7


def routed(of: Case, interface: str) -> Form:
    model = of.model() if interface == "explicit" else reroute(of.model(), of.bundle.plan, interface)
    model.metadata_props[METADATA_KEY] = json.dumps(of.bundle.manifest)
    return {"form": "routed", "interface": interface, "model": "all.onnx"}, {"all.onnx": model}


def segmented(of: Case) -> Form:
    program, models = split(of.model(), of.bundle.plan, "seg")
    return {"form": "segments", "program": program}, models


def renamed(about: Any) -> Any:
    """Returns what the manifest says with the files' new names."""
    if isinstance(about, dict):
        return {k: v.replace(".onnx", ".ort") if k in ("model", "run") else renamed(v) for k, v in about.items()}
    return [renamed(one) for one in about] if isinstance(about, list) else about


FORMS = [("mlp", form) for form in ("explicit", "host", "gates", "segments")]
FORMS += [(name, form) for name in ("conv", "attention") for form in ("gates", "segments")]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_every_path_is_equal(name: str, form: str, style: str, tmp_path: Path) -> None:
    of = case(name)
    about, models = segmented(of) if form == "segments" else routed(of, form)
    made, _ = to_ort(models, style)
    assert set(made) == {file.replace(".onnx", ".ort") for file in models}
    assert worst_share(of, (renamed(about), made), tmp_path) < EQUAL


@pytest.mark.parametrize("style", STYLES)
def test_frozen_paths_are_equal_with_few_options(style: str) -> None:
    of = case("attention")
    models = {f"{number}.onnx": freeze_model(of.model(), path) for number, path in enumerate(of.paths)}
    made, _ = to_ort(models, style)
    for file, model in models.items():
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        for entry in ("disable_prepacking", "use_env_allocators", "use_ort_model_bytes_directly"):
            options.add_session_config_entry(f"session.{entry}", "1")
        options.add_session_config_entry("session.enable_saved_runtime_optimizations", "1")
        content = made[file.replace(".onnx", ".ort")]
        found = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, of.inputs)
        wanted = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, of.inputs)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-5)


def test_half_precision_is_converted(tmp_path: Path) -> None:
    of = case("mlp")
    about, models = routed(of, "gates")
    made, operators = to_ort({file: to_half(model) for file, model in models.items()}, "fixed")
    assert worst_share(of, (renamed(about), made), tmp_path) < 0.01
    assert "MLFloat16" in operators


def test_metadata_stays() -> None:
    of = case("mlp")
    made, _ = to_ort(routed(of, "gates")[1], "fixed")
    session = onnxruntime.InferenceSession(made["all.ort"])
    assert METADATA_KEY in session.get_modelmeta().custom_metadata_map


def required(text: str, folder: Path) -> Mapping[str, Mapping[int, set[str]]]:
    """Returns the operators as ONNX Runtime's own build reads them."""
    file = folder / "operators.config"
    file.write_text(text)
    with quiet_tools():
        from onnxruntime.tools.reduced_build_config_parser import parse_config

        operators, types = parse_config(str(file), True)
    assert types is not None
    return operators


def uncovered(made: Mapping[str, bytes], text: str, folder: Path) -> set[tuple[str, int, str]]:
    """Returns what files in ONNX Runtime's format use, in branches too, and the list does not name."""
    with quiet_tools():
        from onnxruntime.tools.ort_format_model import OrtFormatModelProcessor

        used: dict[str, dict[int, set[str]]] = {}
        for name, content in made.items():
            (folder / name).write_bytes(content)
            OrtFormatModelProcessor(str(folder / name), used, None).process()
    listed = required(text, folder)
    return {
        (domain, version, operator)
        for domain, versions in used.items()
        for version, operators in versions.items()
        for operator in operators - set(listed.get(domain, {}).get(version, ()))
    }


@pytest.mark.parametrize("style", STYLES)
def test_the_list_covers_every_file_and_every_branch(style: str, tmp_path: Path) -> None:
    models = dict(routed(case("attention"), "explicit")[1]) | segmented(case("conv"))[1]
    made, text = to_ort(models, style)
    assert uncovered(made, text, tmp_path) == set()
    assert "Gelu" in text and "LayerNormalization" in text  # which only branches have
    assert 'Gemm{"inputs": {"0": ["float"]}}' in text
    assert str(tmp_path.parent) not in text and tempfile.gettempdir() not in text
    operators = {op for versions in required(text, tmp_path).values() for names in versions.values() for op in names}
    assert {"FusedConv", "If"} <= operators
    assert style == "fixed" or "Conv" in operators  # fused as saved, or left as it is


def test_the_list_of_other_files_is_found_out(tmp_path: Path) -> None:
    """The sabotaged twin: the list of the main graph's part alone does not cover the branches."""
    of = case("attention")
    made, _ = to_ort(routed(of, "gates")[1], "fixed")
    _, text = to_ort({"first.onnx": segmented(of)[1]["seg.0.onnx"]}, "fixed")
    assert ("ai.onnx", 20, "Gelu") in uncovered(made, text, tmp_path)


def test_weights_beside_the_model_are_put_inside(tmp_path: Path) -> None:
    of = case("attention")
    bundle = rr.Bundle(of.bundle.model, of.bundle.manifest, of.bundle.golden)
    bundle.save(tmp_path / "bundle", external_data=True)
    assert (tmp_path / "bundle" / "model.onnx.data").stat().st_size > 4096
    made, _ = to_ort({"all.onnx": rr.load(tmp_path / "bundle").model}, "fixed")
    path = {"rr_seed": np.array(0), "rr_path": np.array(of.paths[0])}
    found = onnxruntime.InferenceSession(made["all.ort"]).run(None, {**of.inputs, **path})
    wanted = onnxruntime.InferenceSession(tmp_path / "bundle" / "model.onnx").run(None, {**of.inputs, **path})
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-5)


def test_converting_is_quiet_and_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = list(logging.getLogger().handlers), logging.getLogger().level
    models = segmented(case("conv"))[1]
    (first, text), (second, same) = to_ort(models, "runtime"), to_ort(models, "runtime")
    assert text == same
    # not their bytes: onnxruntime writes its tables in any order
    assert {name: len(content) for name, content in first.items()} == {n: len(c) for n, c in second.items()}
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_wrong_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmented(case("conv"))[1]["seg.0.onnx"]
    with pytest.raises(ValueError, match="optimization: expected one of fixed, runtime, got 'none'"):
        to_ort({"a.onnx": model}, "none")
    with pytest.raises(ValueError, match="models: expected at least one, got none"):
        to_ort({}, "fixed")
    for name in ("a.ort", "../a.onnx"):
        with pytest.raises(ValueError, match=r"models: expected file names that end in .onnx, got"):
            to_ort({name: model}, "fixed")
    monkeypatch.setattr(ort_files, "EXTERNAL_ABOVE", 10)
    with pytest.raises(PackageError, match=r"a.onnx: expected weights of at most 10 bytes, .* got \d+"):
        to_ort({"a.onnx": model}, "fixed")


def test_what_does_not_convert_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 20]> b (float[2] x) => (float[2] y) {y = Nope(x)}')
    with pytest.raises(PackageError, match=r"b.onnx: expected models that ONNX Runtime converts .*Nope"):
        to_ort({"b.onnx": broken}, "fixed")
    monkeypatch.setenv("ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL", "basic")
    with pytest.raises(
        PackageError, match=r"all.ort: expected ONNX Runtime's converter to write it, got all.basic.ort"
    ):
        to_ort(routed(case("conv"), "gates")[1], "fixed")
