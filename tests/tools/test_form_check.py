"""``check`` runs every form of a bundle, where it can, and says of every other why it did not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

import rr_export as rr
from rr_runtime import BundleError, ProviderError
from rr_runtime.cli import run_command
from rr_runtime.form_check import check_bundle
from tests.tools.sabotage import forget_operator, reseal


@pytest.fixture(scope="module")
def packaged(two_layers: Path) -> rr.Bundle:
    """Two layers with a form of every kind."""
    made = rr.package(rr.load(two_layers), "qnn")
    made = rr.package(made, "cpu", frozen=2, name="two")
    made = rr.package(made, "cuda", precision="float16", name="half")
    made = rr.package(made, "cpu", format="ort", name="own")
    return rr.package(made, "openvino", precision="qdq", name="ints")


@pytest.fixture(scope="module")
def folder(packaged: rr.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged.save(tmp_path_factory.mktemp("packaged") / "bundle")


def told(found: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """What is said of each form on each provider: how many cases hold, why it is left out, or False."""
    return {
        (row["target"], row["provider"]): row["left_out"] or (row["holds"] and len(row["cases"]))
        for row in found["forms"]
    }


def test_every_form_runs_on_the_cpu_and_its_own_provider(packaged: rr.Bundle, folder: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    found = check_bundle(folder, progress=lambda *step: steps.append(step))
    count = len(packaged.golden)
    frozen = {tuple(row["path"]) for row in packaged.targets["two"].about["paths"]}
    assert found["holds"] and found["checked"] == 6
    assert told(found) == {
        ("default", "cpu"): count,
        ("qnn", "cpu"): count,
        ("qnn", "qnn"): "no provider qnn here",
        ("two", "cpu"): sum(case.taken in frozen for case in packaged.golden),
        ("half", "cpu"): count,
        ("half", "cuda"): "no provider cuda here",
        ("own", "cpu"): count,
        ("ints", "cpu"): count,
        ("ints", "openvino"): "no provider openvino here",
    }
    assert steps[0] == ("default on cpu", 0, 9) and len(steps) == 9


def test_a_device_bundle_is_checked_without_the_routed_model(packaged: rr.Bundle, tmp_path: Path) -> None:
    for name in packaged.targets:
        found = check_bundle(packaged.save(tmp_path / name, only=[name]))
        assert found["holds"] and {row["target"] for row in found["forms"]} == {name}


def test_one_provider_takes_its_own_forms_and_one_target_itself(folder: Path) -> None:
    only = told(check_bundle(folder, provider="cpu"))
    assert only["qnn", "cpu"] > 0 and ("qnn", "qnn") not in only
    assert list(told(check_bundle(folder, provider="cpu", target="qnn"))) == [("qnn", "cpu")]
    assert list(told(check_bundle(folder, target="default"))) == [("default", "cpu")]
    with pytest.raises(
        ValueError, match=r"target: expected one of default, qnn, two, half, own, ints, all of .*, got 'x'"
    ):
        check_bundle(folder, target="x")
    with pytest.raises(ProviderError, match=r"provider: expected one of .*, got 'cuda'"):
        check_bundle(folder, provider="cuda")
    with pytest.raises(BundleError, match="expected a bundle folder or a model file, got nothing there"):
        check_bundle(folder / "absent")


def test_a_changed_weight_of_one_form_is_found_there_alone(packaged: rr.Bundle, tmp_path: Path) -> None:
    folder = packaged.save(tmp_path / "bundle", external_data=False)
    model = onnx.load(folder / "two.0.onnx")
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
    changed = onnx.numpy_helper.to_array(weight) * np.float32(1.1)
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    onnx.save(model, folder / "two.0.onnx")
    found = check_bundle(reseal(folder))
    failing = [row for row in found["forms"] if row["holds"] is False]
    assert not found["holds"] and [row["target"] for row in failing] == ["two"]
    assert "output 'output': expected" in next(case for case in failing[0]["cases"] if not case["holds"])["failure"]


def test_a_form_that_does_not_open_or_has_no_cases_does_not_hold(
    packaged: rr.Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = forget_operator(packaged.save(tmp_path / "bundle"), "two.0.onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert run_command(["check", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert "none ran: FAILS" in shown and "two.0.onnx: expected an ONNX model" in shown
    for row in manifest["golden"]:
        row |= {"path": None, "seed": 0, "taken": [-1, -1]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = check_bundle(folder, target="two")
    assert not found["holds"]


def test_a_form_that_its_provider_computes_wrongly_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rr_runtime.form_check.providers", lambda: ("cpu", "qnn"))
    monkeypatch.setattr("rr_runtime.form_check.find_provider", lambda name: name)
    found = told(check_bundle(folder, provider="qnn", target="default"))
    assert "QNN cuts seeds to 32 bits" in found["default", "qnn"]
    others = told(check_bundle(folder, provider="qnn", target=None))
    assert others["two", "qnn"] == "made for cpu; name it with --target to run it on qnn"
