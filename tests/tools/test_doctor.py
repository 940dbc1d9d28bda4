"""``rr-export doctor``: what is here, and what it does with a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from rr_runtime.errors import BundleError, ProviderError, RuntimeFailure
from rr_runtime.tools import assignment, child, doctor
from tests.cli.test_commands import run
from tests.tools.sabotage import spoil_golden


def test_tells_what_is_here(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--json")
    found = json.loads(done.stdout)
    entries = {entry["name"]: entry for entry in found["providers"]}
    assert done.returncode == 0
    assert {"cpu", "cuda", "tensorrt", "xnnpack", "nnapi", "coreml", "qnn", "openvino", "webgpu", "ggml"} <= set(
        entries
    )
    cpu = entries["cpu"]
    assert (cpu["available"], cpu["kind"], cpu["version"]) == (True, "built in", onnxruntime.__version__)
    assert entries["nnapi"]["available"] is False and entries["nnapi"]["install"]
    assert found["machine"]["onnxruntime"] == onnxruntime.__version__


def test_tries_a_bundle(saved: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", str(saved), "--provider", "cpu", "--json")
    (entry,) = json.loads(done.stdout)["providers"]
    found = entry["bundle"]
    assert done.returncode == 0 and found["holds"] and found["opens"] and found["golden"] == 6
    assert (found["target"], found["form"], found["warnings"]) == ("default", "routed", [])
    assert found["nodes"]["cpu"] > 100
    done = run(tmp_path, "doctor", str(saved))
    shown = " ".join(done.stdout.split())  # a long path wraps the title
    assert done.returncode == 0 and "what each would do with it" in shown and "6 hold" in shown


def test_a_broken_golden_case_exits_with_1(saved: Path, tmp_path: Path) -> None:
    folder = spoil_golden(saved, tmp_path / "spoilt")
    done = run(tmp_path, "doctor", "spoilt", "--provider", "cpu")
    assert done.returncode == 1
    assert "FAIL" in done.stdout and "golden case 0 (most probable path)" in " ".join(done.stdout.split())
    found = doctor.doctor(folder, providers=["cpu"])
    assert (
        not found["holds"] and "golden case 0 (most probable path): output" in found["providers"][0]["bundle"]["error"]
    )


def test_a_single_file_is_not_compared(saved: Path) -> None:
    found = doctor.doctor(saved / "model.onnx", providers=["cpu"])
    bundle = found["providers"][0]["bundle"]
    assert bundle["opens"] and bundle["golden"] is None and bundle["warnings"][-1]["about"] == "golden"


def test_bug_a_single_file_has_nodes_and_no_error(saved: Path, tmp_path: Path) -> None:
    found = doctor.doctor(saved / "model.onnx", providers=["cpu"])
    bundle = found["providers"][0]["bundle"]
    assert found["holds"] and bundle["error"] == "" and bundle["nodes"]["cpu"] > 100
    done = run(tmp_path, "doctor", str(saved / "model.onnx"), "--provider", "cpu")
    assert done.returncode == 0 and "not compared" in done.stdout and "fails" not in done.stdout


def test_bug_what_an_older_version_does_not_tell_of_a_single_file_is_not_told(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "_tells", lambda: False)
    bundle = doctor.examine("cpu", str(saved / "model.onnx"), None)["bundle"]
    assert (bundle["nodes"], bundle["told_by"], bundle["whole"], bundle["holds"]) == (None, None, None, True)
    assert "how many nodes run on the provider is not told" in bundle["warnings"][0]["text"]


def test_bug_an_error_about_nodes_does_not_hold(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeFailure("no")

    monkeypatch.setattr(doctor, "assignment", refuse)
    bundle = doctor.examine("cpu", str(saved), None)["bundle"]
    assert (bundle["error"], bundle["holds"], bundle["golden"]) == ("nodes: no", False, 6)


def test_a_provider_that_is_built_in_and_does_not_work_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_present", lambda: {"cpu": ("built in", "onnxruntime"), "cuda": ("built in", "x")})
    entries = {entry["name"]: entry for entry in doctor.doctor(None)["providers"]}
    assert entries["cuda"]["available"] is False and "cuda" in entries["cuda"]["why"]
    assert entries["cpu"]["available"] is True


def test_bad_arguments(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="did you mean 'cuda'"):
        doctor.doctor(None, providers=["cudo"])
    with pytest.raises(BundleError, match="expected a bundle folder or a model file"):
        doctor.doctor(tmp_path / "nothing")
    done = run(tmp_path, "doctor", "--target", "cpu")
    assert done.returncode == 2 and "expected BUNDLE" in done.stderr
    with pytest.raises(ValueError, match="expected one of default"):
        doctor.doctor(saved, providers=["cpu"], target="nothing")


def test_a_crash_takes_nothing_with_it() -> None:
    with pytest.raises(RuntimeFailure, match=r"os:abort: expected a result, got a crash \(SIGABRT\)"):
        child.call("os:abort")


def test_errors_come_through_and_prints_do_not() -> None:
    with pytest.raises(RuntimeFailure, match="expected a bundle folder or a model file"):
        child.call("rr_runtime.tools.load:load_once", bundle="nothing", provider="cpu", target=None, threads=1)
    assert child.call("rr_runtime.tools.machine:about_machine")["onnxruntime"] == onnxruntime.__version__


def test_without_a_second_process_it_is_called_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Exec format error")

    monkeypatch.setattr(child.subprocess, "run", refuse)
    assert child.call("rr_runtime.tools.machine:about_machine")["onnxruntime"] == onnxruntime.__version__
