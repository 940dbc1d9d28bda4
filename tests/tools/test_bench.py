"""``rr-export bench``: figures of the right form, the record of the fastest, the plot. No test depends on a time."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnxruntime import SessionOptions

import rr_export as rr
from rr_export.errors import RRExportError
from rr_export.tools.bench import bench_view
from rr_export.tools.plot import plot_bench
from rr_runtime import Session, Tuning
from rr_runtime.bundle import open_bundle
from rr_runtime.errors import RuntimeFailure
from rr_runtime.fastest import FASTEST, MOST_BYTES, Fastest, record_fastest, recorded_fastest
from rr_runtime.provider_options import CPU
from rr_runtime.tools import bench as tool
from rr_runtime.tools.assignment import Assigned, Assignment
from rr_runtime.tools.path_model import HELD_OUT
from rr_runtime.tuning import default_tuning
from tests import nets
from tests.cli.test_commands import run
from tests.tools.sabotage import forget_operator, spoil_golden

NODE = Assigned("model.onnx", "Add", "Add", "cpu", ())


@pytest.fixture(scope="module")
def done(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """What the command prints, its figures, and where it wrote them."""
    folder = tmp_path_factory.mktemp("bench")
    ended = run(
        folder,
        "bench",
        str(saved),
        "--runs",
        "12",
        "--loads",
        "1",
        "--seed",
        "7",
        "--json",
        "b.json",
        "--plot",
        "b.png",
    )
    assert ended.returncode == 0, ended.stderr
    assert "timing: loading cpu" in ended.stderr
    return ended.stdout, json.loads((folder / "b.json").read_text()), folder


def test_figures(saved: Path, done: tuple[str, dict[str, Any], Path]) -> None:
    _, found, _ = done
    (subject,) = found["subjects"]
    assert (found["runs"], found["threads"], found["first_seed"], found["holds"]) == (12, 1, 7, True)
    assert found["most_probable"] == [max(0, r) for r in rr.load(saved).plan.most_probable()]
    for key in ("law", "most_probable", "frozen"):
        law = subject[key]
        assert len(law["samples_ms"]) == law["samples"] == 12
        assert 0 < min(law["samples_ms"]) <= law["p50"] <= law["p95"] <= law["p99"] <= max(law["samples_ms"])
    assert subject["ratio_to_frozen"]["low"] <= subject["ratio_to_frozen"]["median"]
    sites = open_bundle(saved).manifest.sites
    assert len(subject["branches"]) == sum(len(site.branches) - 1 for site in sites)
    for entry in subject["branches"]:
        low, median, high = entry["cost_ms"]
        assert low <= median <= high and all(map(math.isfinite, (low, median, high)))
        assert entry["branch"] != entry["instead_of"]
    model = subject["model"]
    assert len(model["held_out"]) == model["paths"] == HELD_OUT and 0 <= model["error_mean"] <= model["error_worst"]
    assert [(e["site"], e["branch"]) for e in model["branches"]] == [(s.name, b) for s in sites for b in s.branches]
    load = subject["load"]
    assert load["resident_load"] > 0 and load["check_s"] > 0 and load["load_s"] > 0 and load["processes"] == 1


def test_tables(done: tuple[str, dict[str, Any], Path]) -> None:
    text, _, _ = done
    for words in (
        "fresh paths",
        "most probable path",
        "the same path, frozen",
        "cost of a branch",
        "loading",
        "paired",
        "other random paths",
    ):
        assert words in text
    assert "onnxruntime" in text and "1 thread" in text


def test_plots(done: tuple[str, dict[str, Any], Path]) -> None:
    _, found, folder = done
    assert (folder / "b.png").read_bytes().startswith(b"\x89PNG")
    two = found | {"subjects": [found["subjects"][0], found["subjects"][0] | {"name": "x", "target": "x"}]}
    plot_bench(two, folder / "b.svg")
    first = (folder / "b.svg").read_bytes()
    assert b"<svg" in first
    with pytest.raises(RRExportError, match="expected figures of one provider"):
        plot_bench(found | {"subjects": [found["subjects"][0] | {"law": None}]}, folder / "c.svg")
    done_again = run(folder, "bench", "nothing", "--plot", "b.pdf")
    assert done_again.returncode == 2 and "ends in .png or .svg" in done_again.stderr


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = run(tmp_path, "bench", "nothing", "--plot", "b.png")
    assert ended.returncode == 2 and "pip install 'rr-export[plot]'" in ended.stderr


@pytest.mark.parametrize("interface", ["host", "standalone"])
def test_other_interfaces(interface: str, tmp_path: Path) -> None:
    folder = rr.export(nets.layers(2), (nets.example(),), interface=interface).save(tmp_path / "bundle")
    ended = run(tmp_path, "bench", "bundle", "--runs", "10", "--loads", "0", "--json", "b.json")
    (subject,) = json.loads((tmp_path / "b.json").read_text())["subjects"]
    assert ended.returncode == 0 and subject["load"] is None and subject["law"]["samples"] == 10
    assert (subject["model"] is None) == (interface == "standalone")
    assert (subject["frozen"] is None) == (subject["branches"] == []) == (interface == "standalone")
    assert Session(folder).check() > 0 if interface == "host" else True


def test_targets_are_timed_side_by_side(two_layers: Path, tmp_path: Path) -> None:
    made = rr.package(rr.load(two_layers), target="cuda")
    made = rr.package(made, target="cpu", frozen=2, name="few")
    folder = made.save(tmp_path / "bundle")
    found = tool.bench(folder, targets=["default", "cuda", "few"], runs=10, loads=0)
    assert found["holds"], [subject["error"] for subject in found["subjects"]]
    assert [(s["target"], s["form"]) for s in found["subjects"]] == [
        ("default", "routed"),
        ("cuda", "routed"),
        ("few", "frozen"),
    ]
    assert len(found["subjects"][1]["branches"]) == 2
    one, _, frozen = (subject["model"] for subject in found["subjects"])
    assert frozen is None and one["paths"] == 1  # of four paths, three are timed by their branches


def test_one_that_fails_is_told_and_the_others_are_timed(two_layers: Path, tmp_path: Path) -> None:
    folder = rr.package(rr.load(two_layers), target="cpu", name="bad").save(tmp_path / "bundle")
    forget_operator(folder, "bad.onnx")
    ended = run(tmp_path, "bench", str(folder), "--target", "default", "--target", "bad", "--runs", "10",
                "--loads", "0", "--no-frozen")  # fmt: skip
    assert ended.returncode == 1
    assert "cpu/bad fails:" in ended.stdout and "default on cpu" in ended.stdout


def test_bad_arguments(two_layers: Path, tmp_path: Path) -> None:
    ended = run(tmp_path, "bench", str(two_layers), "--runs", "9")
    assert ended.returncode == 2
    ended = run(tmp_path, "bench", str(two_layers / "model.onnx"), "--no-frozen")
    assert ended.returncode == 2 and "got a single file without" in " ".join(ended.stderr.split())
    ended = run(tmp_path, "bench", str(two_layers), "--record", "--target", "default", "--no-frozen")
    assert ended.returncode == 2 and "expected no targets beside it" in " ".join(ended.stderr.split())


def test_the_fastest_is_recorded(two_layers: Path, tmp_path: Path) -> None:
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    assert recorded_fastest(folder) is None
    ended = run(tmp_path, "bench", "bundle", "--runs", "10", "--loads", "0", "--no-frozen", "--record", "--json", "f")
    said = " ".join(ended.stdout.split())
    assert ended.returncode == 0 and "recorded for provider='auto': cpu, threads " in said
    assert "tuning, threads 1:" in said and "tuning, SkipLayerNormFusion:" in said
    found, recorded = json.loads((tmp_path / "f").read_text())["fastest"], recorded_fastest(folder)
    assert recorded is not None and recorded.provider == "cpu" and recorded.tuning.to_json() == found["tuning"]
    session = Session(folder, provider="auto")
    assert session.provider == "cpu" and session.tuning == recorded.tuning
    assert Session(folder).tuning == default_tuning(CPU)
    for step in found["steps"]:
        assert step["ratio"] > 0 and step["faster"] in (True, False)


def test_a_wrong_provider_is_not_recorded(two_layers: Path, tmp_path: Path) -> None:
    folder = spoil_golden(two_layers, tmp_path / "spoilt")
    ended = run(tmp_path, "bench", "spoilt", "--runs", "10", "--loads", "0", "--no-frozen", "--record")
    assert ended.returncode == 1 and "nothing is recorded" in ended.stdout
    assert not (folder / FASTEST).exists()


def test_bug_a_provider_without_nodes_is_not_recorded(
    two_layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    bundle, session = open_bundle(folder), Session(folder)
    monkeypatch.setattr(Session, "provider", "ggml")
    monkeypatch.setattr(tool, "assignment", lambda *_: Assignment("profile", True, (NODE,), (), (), (), None))
    with pytest.raises(RuntimeFailure, match="expected nodes on ggml, got none"):
        tool._check_has_nodes(bundle, session, {})
    subject = tool._Subject("ggml", None, frozen=session)
    tool._drop_frozen_on_cpu(subject, folder, {})
    assert subject.frozen is None and "expected nodes on ggml" in subject.frozen_error
    monkeypatch.setattr(tool, "assignment", lambda *_: Assignment(None, True, (), (), (), (), None))
    tool._check_has_nodes(bundle, session, {})


def test_bug_the_cpu_is_timed_beside_what_is_recorded(two_layers: Path, tmp_path: Path) -> None:
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    found = tool.bench(folder, providers=[], runs=10, loads=0, record=True)
    assert [subject["provider"] for subject in found["subjects"]] == ["cpu"] and found["fastest"]["provider"] == "cpu"


@pytest.mark.parametrize(("mean", "expected"), [(0.5, "cuda"), (0.99, "cpu"), (2.0, "cpu")])
def test_the_cpu_stays_unless_another_is_faster_beyond_doubt(mean: float, expected: str) -> None:
    laws = {"cpu": {"mean": 1.0, "error": 0.01}, "cuda": {"mean": mean, "error": 0.01}}
    assert tool.fastest_provider(laws) == expected


TUNED = Fastest("cpu", Tuning(1, False, False, ("NchwcTransformer",)))


def test_a_record_holds_for_one_machine_and_one_bundle(
    two_layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    record_fastest(folder, TUNED, mean_ms={"cpu": 1.0})
    assert recorded_fastest(folder) == TUNED
    with monkeypatch.context() as context:
        context.setattr("rr_runtime.fastest.fingerprint", lambda: "another")
        assert recorded_fastest(folder) is None
        record_fastest(folder, replace(TUNED, provider="nnapi"), mean_ms={})
        assert recorded_fastest(folder) is None  # it is gone, or never was here
    assert recorded_fastest(folder) == TUNED
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest + " ")
    assert recorded_fastest(folder) is None
    (folder / "manifest.json").write_text(manifest)
    assert caplog.text == ""
    for text in ("{", "[" * 100_000, "[]", "null", " " * (MOST_BYTES + 1)):
        caplog.clear()
        (folder / FASTEST).write_text(text)
        assert recorded_fastest(folder) is None and "measure again" in caplog.text
    assert recorded_fastest(tmp_path / "nothing") is None


def test_what_is_recorded_is_used_and_what_the_caller_says_goes_over_it(two_layers: Path, tmp_path: Path) -> None:
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    record_fastest(folder, TUNED, mean_ms={})
    assert Session(folder, provider="auto").tuning == TUNED.tuning
    assert Session(folder, provider="auto", threads=2).tuning == replace(TUNED.tuning, threads=2)
    assert Session(folder, provider="auto", tuning=Tuning()).tuning == Tuning()
    assert Session(folder, provider="auto", session_options=SessionOptions()).tuning is None
    assert Session(folder, provider="auto", target="default").tuning == default_tuning(CPU)  # not what was measured
    assert Session(folder, provider="auto").check() > 0


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 10**6},
        {"threads": -1},
        {"spinning": 0},
        {"arena": "yes"},
        {"left_out": ["ConstantFolding"]},
        {"left_out": 3},
        {"library": "/tmp/evil.so"},
    ],
    ids=str,
)
def test_sabotage_a_strangers_record_is_not_used(
    two_layers: Path, tmp_path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    file = record_fastest(folder, TUNED, mean_ms={})
    content = json.loads(file.read_text())
    (entry,) = content["machines"].values()
    entry["tuning"] |= change
    file.write_text(json.dumps(content))
    assert recorded_fastest(folder) is None and "measure again" in caplog.text
    assert Session(folder, provider="auto").tuning == default_tuning(CPU)


def test_a_record_of_a_provider_alone_has_its_default(two_layers: Path, tmp_path: Path) -> None:
    """What earlier versions wrote."""
    folder = rr.load(two_layers).save(tmp_path / "bundle")
    file = record_fastest(folder, TUNED, mean_ms={})
    content = json.loads(file.read_text())
    (entry,) = content["machines"].values()
    del entry["tuning"]
    file.write_text(json.dumps(content))
    assert recorded_fastest(folder) == Fastest("cpu", default_tuning(CPU))


def test_a_busy_machine_is_told(done: tuple[str, dict[str, Any], Path]) -> None:
    _, found, _ = done
    (subject,) = found["subjects"]

    def said(p95: float) -> str:
        one = subject["most_probable"] | {"p50": 1.0, "p95": p95}
        return str(bench_view(found | {"subjects": [subject | {"most_probable": one}]})[-1])

    assert "noise of a busy machine" in said(2.0) and "busy" not in said(1.2)


def test_nothing_is_shown_of_nothing() -> None:
    machine = dict.fromkeys(("processor", "architecture", "system", "package", "onnxruntime", "numpy", "python"), "x")
    subject = {"name": "cpu", "error": "bad", "law": None, "branches": [], "load": None, "ratio_to_frozen": None}
    result = {"subjects": [subject], "fastest": None, "machine": machine | {"cores": 1}}
    assert "cpu fails:" in str(bench_view(result)[0])


def test_profiles_are_timed_beside_the_law_of_the_bundle(saved: Path, tmp_path: Path) -> None:
    bundle = rr.load(saved)
    path = list(bundle.plan.most_probable())
    place = bundle.with_profile("one", path).with_profile("own", bundle.plan).save(tmp_path / "out")
    options = ("--runs", "12", "--loads", "0", "--profile", "own", "--profile", "one", "--json", "b.json")
    ended = run(tmp_path, "bench", "out", *options)
    assert ended.returncode == 0, ended.stderr
    (subject,) = json.loads((tmp_path / "b.json").read_text())["subjects"]
    assert list(subject["profiles"]) == ["own", "one"]
    for law in subject["profiles"].values():
        assert law["samples"] == 12 == len(law["samples_ms"]) and 0 < law["p50"] <= law["p99"]
    assert "profile own" in ended.stdout and "profile one" in ended.stdout
    unknown = run(tmp_path, "bench", "out", "--profile", "two", "--no-frozen")
    assert unknown.returncode == 2 and "profile: expected one of one, own of" in " ".join(unknown.stderr.split())
    frozen = rr.package(rr.load(place), "cpu", frozen=1, name="frozen").save(tmp_path / "frozen")
    found = tool.bench(frozen, targets=("frozen",), profiles=("one",), runs=10, loads=0)
    assert not found["holds"] and "got the frozen target 'frozen'; time another one" in found["subjects"][0]["error"]


def test_sabotage_a_bench_that_times_another_law(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs that are timed are those of the profile, on the seeds of the bench."""
    bundle = rr.load(saved)
    place = bundle.with_profile("one", bundle.plan.most_probable()).save(tmp_path / "out")
    asked: list[tuple[int | None, str | None]] = []
    whole = Session.run

    def watched(self: Session, inputs: Any, **given: Any) -> Any:
        asked.append((given.get("seed"), given.get("profile")))
        return whole(self, inputs, **given)

    monkeypatch.setattr(Session, "run", watched)
    tool.bench(place, profiles=("one",), runs=10, loads=0, seed=70)
    of = {name: {seed for seed, profile in asked if profile == name and seed} for name in (None, "one")}
    assert set(range(70, 80)) <= of["one"] == of[None]
