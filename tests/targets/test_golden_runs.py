"""Every target has golden cases that it can run: at its sizes, on a path that it has."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_runtime import RuntimeFailure, Session
from rr_runtime.cli import run_command
from rr_runtime.manifest import Manifest


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = rr.LayerChoice(nn.Linear(8, 8), 0.5), rr.LayerChoice(nn.Linear(8, 8), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Picked(Net):
    """Its second input names rows of the first, of which there are fewer where the batch is cut."""

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        return self.second(self.first(x))[rows]


def exported(rows: int = 4, **options: object) -> tuple[nn.Module, Tensor, rr.Bundle]:
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(rows, 8)
    return model, x, rr.export(model, (x,), dynamic_shapes={"x": {0: "batch"}}, **options)  # type: ignore[arg-type]


def test_bug_the_golden_cases_of_a_fixed_size_run(tmp_path: Path) -> None:
    model, x, bundle = exported(target=["qnn", "cuda"], sizes={"batch": 1})
    folder = bundle.save(tmp_path / "bundle")
    assert Session(folder, target="qnn").check() == Session(folder, target="cuda").check() == 4
    assert Session(folder, target="default").check() == len(bundle.golden) == 8
    case = bundle.golden[4]
    with rr.forced(model, list(case.taken)), torch.no_grad():  # the model's own answers, not the file's
        np.testing.assert_array_equal(case.outputs["output"], model(x[:1]).numpy())


@pytest.mark.parametrize("interface", ["explicit", "standalone"])
def test_a_bundle_from_disk_gets_runs_at_each_targets_sizes(interface: str, tmp_path: Path) -> None:
    model, x, bundle = exported(interface=interface)
    bundle.save(tmp_path / "first")
    loaded = rr.load(tmp_path / "first")
    for name, size in (("one", 1), ("six", 6)):
        loaded = rr.package(loaded, "qnn", sizes={"batch": size}, name=name)
    loaded = rr.package(loaded, "nnapi", sizes={"batch": 6})
    folder = loaded.save(tmp_path / "second", only=["one", "six", "nnapi"])
    assert len(loaded.golden) == 12
    assert [Session(folder, target=name).check() for name in ("one", "six", "nnapi")] == [4, 4, 4]
    case = loaded.golden[-1]
    with rr.forced(model, list(case.taken)), torch.no_grad():
        expected = model(x[torch.arange(6) % 4]).numpy()
    np.testing.assert_allclose(case.outputs["output"], expected, rtol=1e-4, atol=1e-5)


def test_bug_a_device_folder_has_the_cases_that_it_can_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *_, bundle = exported(target=["qnn", "cuda"], sizes={"batch": 1})
    both = bundle.save(tmp_path / "both")
    bundle = rr.package(rr.load(both), "cpu", frozen=2)
    device = bundle.save(tmp_path / "device", only=["qnn"])
    kept = Manifest.parse((device / "manifest.json").read_text()).golden
    assert [case.inputs for case in kept] == [None, 0, 0, 0] and [c.taken for c in kept] == [
        case.taken for case in bundle.golden[4:8]
    ]
    assert (device / "golden.npz").stat().st_size < (both / "golden.npz").stat().st_size
    assert run_command(["run", str(device), "--golden", "0", "--seed", "7"]) == 0
    frozen = bundle.save(tmp_path / "frozen", only=["cpu"])
    paths = {tuple(row["path"]) for row in bundle.targets["cpu"].about["paths"]}
    assert {case.taken for case in Manifest.parse((frozen / "manifest.json").read_text()).golden} == paths
    capsys.readouterr()
    assert run_command(["info", str(device)]) == 0 and "runs on" not in capsys.readouterr().out
    assert run_command(["info", str(both)]) == 0
    shown = capsys.readouterr().out
    assert "runs on" in shown and shown.count("  default, qnn, cuda  ") == shown.count("  default  ") == 4
    assert run_command(["run", str(both), "--golden", "0", "--target", "qnn"]) == 2
    assert "golden case: expected one at the sizes {'batch': 1} of target 'qnn' (4, 5, 6, 7), got 0" in (
        capsys.readouterr().err
    )


def test_cases_that_fit_no_form_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *_, bundle = exported(target="qnn", sizes={"batch": 1})
    folder = bundle.save(tmp_path / "bundle")
    (folder / "model.onnx").unlink()  # as folders of targets alone were written earlier: with all cases
    content = json.loads((folder / "manifest.json").read_text())
    del content["files"]["model.onnx"]
    (folder / "manifest.json").write_text(json.dumps(content))
    assert run_command(["check", str(folder)]) == 0
    assert "4 golden cases fit no form that is here: 0, 1, 2, 3" in capsys.readouterr().out


def test_a_wrong_run_at_the_targets_sizes_is_found(tmp_path: Path) -> None:
    *_, bundle = exported(target="qnn", sizes={"batch": 1})
    golden = list(bundle.golden)
    golden[4] = replace(golden[4], outputs={"output": golden[4].outputs["output"] + 1})
    folder = replace(bundle, golden=golden).save(tmp_path / "bundle")
    with pytest.raises(RuntimeFailure, match=r"golden case 4 \(most probable path\): output 'output': expected .* got"):
        Session(folder, target="qnn").check()


def test_frozen_paths_that_were_not_recorded_get_a_run(tmp_path: Path) -> None:
    *_, bundle = exported()
    missing = next(path for path in bundle.plan.paths() if all(case.taken != path for case in bundle.golden))
    made = rr.package(bundle, "cpu", frozen=1, best=lambda path: path == missing, sizes={"batch": 2})
    assert Session(made.save(tmp_path / "bundle"), target="cpu").check() == 1
    assert [len(case.inputs["x"]) for case in made.golden] == [4] * 4 + [2] * 5


def test_older_bundles_without_runs_at_a_size_say_so(tmp_path: Path) -> None:
    *_, bundle = exported(target="qnn", sizes={"batch": 1})
    folder = replace(bundle, golden=bundle.golden[:4]).save(tmp_path / "bundle")
    with pytest.raises(RuntimeFailure, match=r"expected golden cases at the sizes {'batch': 1} of target 'qnn', got"):
        Session(folder, target="qnn").check()


def test_inputs_that_cannot_be_cut_are_a_warning() -> None:
    bundle = rr.export(
        Picked().eval(), (torch.randn(4, 8), torch.tensor([3, 0])), dynamic_shapes={"x": {0: "batch"}, "rows": None}
    )
    with pytest.warns(UserWarning, match="package: expected golden cases that can be cut or repeated .* got"):
        made = rr.package(bundle, "cuda", sizes={"batch": 2})
    assert len(made.golden) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(rr.package(bundle, "cuda", sizes={"batch": 5}).golden) == 8


def test_every_likely_frozen_path_has_a_run(tmp_path: Path) -> None:
    *_, bundle = exported()
    made = rr.package(bundle, "cpu", frozen=4, best=sum)
    frozen = {tuple(row["path"]) for row in made.targets["cpu"].about["paths"]}
    assert frozen <= {case.taken for case in made.golden}
    assert Session(made.save(tmp_path / "device", only=["cpu"])).check() >= 4


def test_a_frozen_model_has_a_golden_case(tmp_path: Path) -> None:
    model, x, bundle = exported()
    for path in bundle.plan.paths():
        frozen = rr.freeze(bundle, path)
        assert Session(frozen.save(tmp_path / str(path))).check() >= 1
        with rr.forced(model, list(path)), torch.no_grad():
            np.testing.assert_allclose(frozen.golden[0].outputs["output"], model(x).numpy(), rtol=1e-4, atol=1e-5)


def test_runs_on_the_users_inputs_are_recorded_for_a_target(tmp_path: Path) -> None:
    model, _, bundle = exported()
    given = [np.random.default_rng(n).normal(size=(3, 8)).astype(np.float32) for n in range(6)]
    made = rr.package(bundle, "qnn", sizes={"batch": 2}, golden=[{"x": array} for array in given])
    new = made.golden[len(bundle.golden) :]
    assert [case.why for case in new][::5] == ["most probable path, your input 1", "seed 3, your input 6"]
    for case, array in zip(new, given, strict=True):
        np.testing.assert_array_equal(case.inputs["x"], array[:2])
        with rr.forced(model, list(case.taken)), torch.no_grad():
            expected = model(torch.from_numpy(array[:2])).numpy()
        np.testing.assert_allclose(case.outputs["output"], expected, rtol=1e-4, atol=1e-5)
    assert Session(made.save(tmp_path / "device", only=["qnn"])).check() == 6
    few = rr.package(bundle, "cuda", golden=2)
    assert [case.why for case in few.golden[len(bundle.golden) :]] == [case.why for case in bundle.golden[:2]]


@pytest.mark.parametrize(
    ("golden", "error", "message"),
    [
        (0, ValueError, "golden: expected at least 1 run for the target, got 0"),
        ([], ValueError, "golden: expected at least one input, got none"),
        ({"x": 1}, TypeError, "golden: expected how many runs, or a list of inputs, got dict"),
        ([{"y": 1}], ValueError, "golden: your input 1: input 'y': expected only x"),
        ([{"x": np.ones((2, 8))}], TypeError, "golden: your input 1: input 'x': expected float32, got float64"),
    ],
)
def test_wrong_wishes_are_refused(golden: object, error: type[Exception], message: str) -> None:
    *_, bundle = exported()
    with pytest.raises(error, match=message):
        rr.package(bundle, "cuda", golden=golden)  # type: ignore[arg-type]


def test_a_bundle_without_golden_cases_says_so_and_takes_inputs(tmp_path: Path) -> None:
    *_, bundle = exported()
    bare = replace(bundle, golden=())
    with pytest.warns(UserWarning, match="got none; target 'cuda' has no run to be compared with on a device"):
        assert rr.package(bare, "cuda").golden == []
    with pytest.raises(ValueError, match="golden: expected inputs, as the bundle has no golden cases, got a number"):
        rr.package(bare, "cuda", golden=3)
    made = rr.package(bare, "cuda", golden=[{"x": np.ones((2, 8), np.float32)}])
    assert Session(made.save(tmp_path / "device", only=["cuda"])).check() == 4
