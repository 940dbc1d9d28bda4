"""Packaging: what it is asked for, what it refuses, and what it leaves as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import nn

import rr_export as rr
from rr_export.errors import BundleError, PackageError
from rr_export.parity.target_check import verify_targets
from rr_export.targets.provider_table import TARGETS
from rr_runtime import ProviderError, Session
from tests import nets

BATCH = {"batch": 3}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "tpu"}, ValueError, "target: expected one of cpu, cuda, .*, got 'tpu'"),
        ({"target": "cpu", "form": "frozen"}, ValueError, "form: expected one of routed, segments, got 'frozen'"),
        ({"target": "cpu", "form": "routed", "frozen": 2}, ValueError, "form: expected None beside frozen"),
        ({"target": "cpu", "best": len}, ValueError, "best: expected frozen=N beside it"),
        (
            {"target": "cpu", "calibration": []},
            ValueError,
            "calibration: expected precision 'qdq' or 'qdq16' beside it",
        ),
        ({"target": "cpu", "name": 3}, ValueError, "name: expected letters"),
        (
            {"target": "nnapi", "sizes": {"batch": 3}, "precision": "qdq", "calibration": {}},
            TypeError,
            "expected a list",
        ),
        (
            {"target": "nnapi", "sizes": BATCH, "precision": "qdq", "calibration": [{"x": np.ones((3, 8))}]},
            TypeError,
            r"calibration\[0\]: input 'x': expected float32, got float64",
        ),
        ({"target": "cpu", "format": "tar"}, ValueError, "format: expected one of onnx, ort, got 'tar'"),
        ({"target": "cpu", "precision": "int3"}, ValueError, "precision: expected one of float32"),
        ({"target": "cpu", "name": "default"}, ValueError, "name: expected letters"),
        ({"target": "cpu", "name": "../up"}, ValueError, "name: expected letters"),
        ({"target": "cpu", "name": "model"}, ValueError, "name: expected letters"),
        ({"target": "cpu", "frozen": 0}, ValueError, "frozen: expected a number of paths >= 1"),
        ({"target": "cpu", "sizes": {"sequence": 3}}, ValueError, r"expected a symbolic axis of the inputs \(batch\)"),
        ({"target": "cpu", "sizes": {"batch": 0}}, ValueError, "expected a whole number of at least 1, got 0"),
        ({"target": "qnn"}, PackageError, r"expected fixed shapes, got the symbolic axes batch; pass sizes="),
        ({"target": "cpu", "precision": "qdq"}, PackageError, "expected a static form for precision 'qdq', got routed"),
        ({"target": "xnnpack", "precision": "float16"}, PackageError, "expected precision float32, got 'float16'"),
    ],
)
def test_bad_requests_are_refused(
    options: dict[str, Any], error: type[Exception], message: str, everything_bundle: rr.Bundle
) -> None:
    with pytest.raises(error, match=message):
        rr.package(everything_bundle, **options)


def test_the_bundle_stays_as_it_was(everything_bundle: rr.Bundle) -> None:
    before = everything_bundle.model.graph.num_nodes() if hasattr(everything_bundle.model.graph, "num_nodes") else None
    made = rr.package(everything_bundle, "qnn", sizes=BATCH)
    assert everything_bundle.targets == {} and list(made.targets) == ["qnn"]
    assert made.model is everything_bundle.model and made.path is None
    assert before == (made.model.graph.num_nodes() if before is not None else None)


def test_a_name_is_not_taken_twice(everything_bundle: rr.Bundle) -> None:
    made = rr.package(everything_bundle, "cuda")
    with pytest.raises(PackageError, match="expected a new name, got 'cuda', which the bundle has"):
        rr.package(made, "cuda")
    assert list(rr.package(made, "cuda", name="cuda-2").targets) == ["cuda", "cuda-2"]


def test_bug_a_file_is_not_taken_twice(everything_bundle: rr.Bundle) -> None:
    made = rr.package(everything_bundle, "cpu", frozen=2, name="a")
    with pytest.raises(PackageError, match=r"expected files of their own, got 'a\.0\.onnx' of target 'a'"):
        rr.package(made, "cuda", name="a.0")


def test_export_makes_the_targets_that_are_named(everything_model: nn.Module) -> None:
    dynamic = {"x": {0: "batch"}}
    bundle = rr.export(
        everything_model, (nets.example(),), dynamic_shapes=dynamic, target=list(TARGETS), sizes={"batch": 3}
    )
    assert list(bundle.targets) == list(TARGETS)
    for name, made in bundle.targets.items():
        assert made.about["provider"] == name
        assert made.about["form"] == TARGETS[name].form
        assert made.about.get("interface") == TARGETS[name].interface
    with pytest.raises(ValueError, match="expected one of cpu"):
        rr.export(everything_model, (nets.example(),), target="gpu")
    with pytest.raises(ValueError, match="expected every target once"):
        rr.export(everything_model, (nets.example(),), target=["cpu", "cpu"])
    with pytest.raises(ValueError, match="expected a target beside them"):
        rr.export(everything_model, (nets.example(),), sizes={"batch": 2})


def test_a_fixed_size_is_enforced(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = rr.package(everything_bundle, "qnn", sizes=BATCH).save(tmp_path / "bundle")
    session = Session(folder, target="qnn")
    with pytest.raises(ValueError, match="expected batch of at least 3 and at most 3, got 2"):
        session.run({"x": np.ones((2, 8), np.float32)})
    Session(folder).run({"x": np.ones((2, 8), np.float32)})


def test_the_provider_chooses_the_target(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = rr.package(everything_bundle, "cpu", frozen=3).save(tmp_path / "bundle")
    assert Session(folder).target == Session(folder, provider="auto").target == "cpu"
    assert Session(folder, target="default").target == "default"
    with pytest.raises(ValueError, match=r"target: expected one of default, cpu of .*, got 'qnn'"):
        Session(folder, target="qnn")


def test_targets_go_without_the_routed_model(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    made = rr.package(rr.package(everything_bundle, "cuda"), "webgpu")
    folder = made.save(tmp_path / "device", only=["cuda"])
    assert made.path is None
    names = sorted(file.name for file in folder.iterdir())
    assert "cuda.onnx" in names and "model.onnx" not in names and "webgpu.onnx" not in names
    session = Session(folder)
    assert session.target == "cuda" and session.check() == len(made.golden)
    with pytest.raises(BundleError, match=r"expected the routed model model\.onnx, got targets only"):
        rr.load(folder)
    with pytest.raises(ValueError, match="only: expected targets of the bundle"):
        made.save(tmp_path / "none", only=["qnn"])


def test_targets_need_a_folder(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a folder for a bundle with targets"):
        rr.package(everything_bundle, "cuda").save(tmp_path / "model.onnx")


def test_a_saved_bundle_comes_back_with_its_targets(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    made = rr.package(rr.package(everything_bundle, "qnn", sizes=BATCH), "cpu", frozen=4)
    loaded = rr.load(made.save(tmp_path / "one"))
    assert json.dumps({n: t.about for n, t in loaded.targets.items()}) == json.dumps(
        {n: t.about for n, t in made.targets.items()}
    )
    more = rr.package(loaded, "cuda")
    folder = more.save(tmp_path / "two")
    assert [Session(folder, target=name).check() for name in more.targets] == [7, 4, 7]
    with pytest.raises(BundleError, match="expected no such folder"):
        made.save(tmp_path / "two")
    made.save(tmp_path / "two", overwrite=True)
    assert not (tmp_path / "two" / "cuda.onnx").exists()


def test_another_form_than_the_target_says(everything_bundle: rr.Bundle) -> None:
    assert rr.package(everything_bundle, "cpu", form="segments").targets["cpu"].about["form"] == "segments"
    about = rr.package(everything_bundle, "openvino", form="routed").targets["openvino"].about
    assert (about["form"], about["interface"]) == ("routed", "host")


def test_weights_are_inside_where_an_engine_reads_no_other_file(tmp_path: Path) -> None:
    model = nn.Sequential(rr.LayerChoice(nn.Linear(64, 64), 0.5), nn.Linear(64, 4)).eval()
    bundle = rr.export(model, (torch.ones(2, 64),), target=["coreml", "cuda"])
    folder = rr.load(bundle.save(tmp_path / "one")).save(tmp_path / "two")
    weights = 64 * 64 * 4
    assert (folder / "coreml.onnx").stat().st_size > weights > (folder / "cuda.onnx").stat().st_size
    only = bundle.save(tmp_path / "device", only=["coreml"])
    assert not (only / "model.onnx.data").exists() and Session(only).check() == 4


@pytest.mark.parametrize(("precision", "most"), [("qdq", 0.1), ("qdq16", 0.05)])
def test_segments_in_integers(precision: str, most: float) -> None:
    torch.manual_seed(0)
    layers = [rr.LayerChoice(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)), 0.7) for _ in range(4)]
    bundle = rr.export(nn.Sequential(*layers, nn.Linear(8, 8)).eval(), (torch.randn(16, 8),))
    made = rr.package(bundle, "qnn", precision=precision)
    (check,) = verify_targets(made).checks
    assert check.passed and 0 < check.figures["largest_difference"] < most


def test_a_damaged_target_is_refused(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = rr.package(everything_bundle, "cuda").save(tmp_path / "bundle")
    file = folder / "cuda.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(Exception, match=r"cuda\.onnx: expected SHA-256"):
        Session(folder)


def test_a_model_without_sites_has_targets_too(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="expected a model with sites"):
        bundle = rr.export(nn.Linear(4, 4).eval(), (torch.ones(2, 4),), target=["cpu", "cuda", "qnn"])
    folder = rr.package(bundle, "cpu", frozen=3, name="frozen").save(tmp_path / "plain")
    inputs = {"input": np.ones((2, 4), np.float32)}
    expected = Session(folder, target="default").run(inputs).outputs
    for name in ("cpu", "cuda", "qnn", "frozen"):
        session = Session(folder, target=name)
        result = session.run(inputs)
        assert result.path is None and result.seed is None
        for output, array in expected.items():
            np.testing.assert_array_equal(result.outputs[output], array)
        with pytest.raises(ValueError, match="seed: expected none"):
            session.run(inputs, seed=1)


@pytest.mark.parametrize(
    ("provider", "kind", "message"),
    [
        ("OpenVINOExecutionProvider", "explicit", "with symbolic sizes; OpenVINO keeps the conditions"),
        ("XnnpackExecutionProvider", "explicit", "XNNPACK computes a Gemm of symbolic size wrongly"),
        ("QNNExecutionProvider", "explicit", "QNN cuts seeds to 32 bits"),
    ],
)
def test_what_is_silently_wrong_is_refused(
    provider: str, kind: str, message: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rr_runtime.session.find_provider", lambda name: provider)
    with pytest.raises(ProviderError, match=f"got interface '{kind}'.*{message}.*rr-export package --target"):
        Session(saved, provider="any")


def test_bug_a_file_whose_nodes_a_tool_left_unsorted_is_packaged(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    file = everything_bundle.save(tmp_path / "model.onnx")
    everything_bundle.path = None
    quantize_dynamic(file, tmp_path / "int8.onnx", extra_options={"EnableSubgraph": True})
    inputs = {"x": nets.example().numpy()}
    with pytest.warns(
        UserWarning, match="package: expected a bundle with golden cases, got none; target 'cuda' has no"
    ):
        made = rr.package(rr.load(tmp_path / "int8.onnx"), "cuda")
    bundle = rr.package(made, "qnn", sizes=BATCH, golden=[inputs])
    folder = bundle.save(tmp_path / "bundle")
    assert [Session(folder, target=name).check() for name in bundle.targets] == [len(bundle.golden)] * 2
    for path in list(bundle.plan.paths())[::7]:
        expected = Session(folder, target="default").run(inputs, path=path).outputs
        for name in bundle.targets:
            got = Session(folder, target=name).run(inputs, path=path).outputs
            np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-6, atol=1e-6)


def test_bug_a_site_that_lost_its_if_is_told(everything_bundle: rr.Bundle) -> None:
    bundle = rr.Bundle(everything_bundle.model.clone(), everything_bundle.manifest, everything_bundle.golden)
    for node in ir.traversal.RecursiveGraphIterator(bundle.model.graph):
        node.metadata_props.clear()
        for value in node.outputs:
            if value.name and value.name.startswith("rr/first>="):
                value.name = "renamed"
    assert rr.package(everything_bundle, "cuda").targets
    for make in (lambda: rr.package(bundle, "cuda"), lambda: rr.freeze(bundle, bundle.plan.most_probable())):
        with pytest.raises(PackageError, match=r"site 'first': expected its If nodes .*, got 0 of 1"):
            make()


@pytest.mark.parametrize(("rows", "size"), [(7, 2), (4, 4), (3, 8)])
def test_bug_calibration_uses_all_rows(rows: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "rr_export.targets.precision.quantize_segments",
        lambda *given, **options: seen.extend(given[2]) or given[1],
    )
    layers = [rr.LayerChoice(nn.Linear(8, 8), 0.5) for _ in range(3)]
    bundle = rr.export(nn.Sequential(*layers).eval(), (torch.randn(4, 8),), dynamic_shapes={"input": {0: "batch"}})
    data = np.arange(rows * 8, dtype=np.float32).reshape(rows, 8)
    rr.package(bundle, "qnn", sizes={"batch": size}, precision="qdq", calibration=[{"input": data}])
    assert {tuple(row) for inputs, _ in seen for row in inputs["input"].tolist()} == {tuple(r) for r in data.tolist()}
    assert all(inputs["input"].shape == (size, 8) for inputs, _ in seen)
    assert {path for _, path in seen} == set(bundle.plan.paths())
