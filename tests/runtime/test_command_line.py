"""``rr-runtime``: info, run and check end with the right code, and say what is there, done and wrong."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rr_runtime
from rr_runtime import Session
from rr_runtime.bundle import open_bundle
from rr_runtime.cli import run_command
from rr_runtime.cli.parser import parser
from rr_runtime.golden import golden_inputs
from rr_runtime.strict_json import strict_json

from . import handmade

WriteBundle = Callable[..., Path]
OFFSET = "offset=[1, 2]"


def ended(*arguments: object) -> int:
    """The exit code of a command line."""
    try:
        return run_command([str(argument) for argument in arguments])
    except SystemExit as error:
        assert isinstance(error.code, int)
        return error.code


def result_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a command prints as JSON."""
    assert ended(*arguments, "--json") in (0, 1)
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def x(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of input files."""
    folder = tmp_path_factory.mktemp("inputs")
    inputs = handmade.example(batch=2)
    np.save(folder / "x.npy", inputs["x"])
    np.savez(folder / "both.npz", **inputs)
    (folder / "both.json").write_text(json.dumps({name: array.tolist() for name, array in inputs.items()}))
    (folder / "x.json").write_text(json.dumps(inputs["x"].tolist()))
    np.save(folder / "double.npy", inputs["x"].astype(np.float64))
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "note.txt").write_text("hello")
    (folder / "empty.npy").touch()
    (folder / "twice.json").write_text('{"x": [1], "x": [2], "offset": [1]}')
    return folder


def test_info_tells_what_is_there(bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(capsys, "info", bundles["explicit"])
    assert [row["name"] for row in found["inputs"]] == ["x", "offset"]
    assert [site["branches"] for site in found["sites"]] == [
        ["twice", "nested", "less"],
        ["add", "multiply"],
        ["skip", "run"],
    ]
    assert [case["path"] for case in found["golden"]][1] == [1, 1, 0]
    assert set(found["files"]) == {"model.onnx", "golden.npz"}
    taken = {(i, k) for case in found["golden"] for i, k in enumerate(case["path"])}
    free = [
        f"{site['name']}: {name}"
        for i, site in enumerate(found["sites"])
        for k, name in enumerate(site["branches"])
        if (i, k) not in taken
    ]
    assert found["uncovered"] == free
    assert ended("info", bundles["explicit"]) == 0
    shown = capsys.readouterr().out
    assert "[batch, 4]" in shown and "twice 0.25, nested 0.25, less 0.5" in shown and "step 1 of chain 0" in shown
    assert ended("info", bundles["explicit"] / "model.onnx") == 0
    assert "no golden cases: nothing can be checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    "inputs",
    [
        ("x=x.npy", OFFSET),
        ("x=x.json", OFFSET),
        ("x=both.npz", "offset=both.npz"),
        ("both.npz",),
        ("both.json",),
    ],
)
def test_inputs_of_every_kind_run_alike(
    inputs: tuple[str, ...], bundles: dict[str, Path], x: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(x)
    offset = handmade.example(batch=2)["offset"].tolist()
    given = [part for text in inputs for part in ("--input", text.replace("[1, 2]", str(offset)))]
    for name in ("y.npz", "y.json"):
        assert ended("run", bundles["explicit"], *given, "--path", "1,1,0", "--output", tmp_path / name) == 0
    expected = Session(bundles["explicit"]).run(handmade.example(batch=2), path=[1, 1, 0]).outputs
    told = json.loads((tmp_path / "y.json").read_text())
    with np.load(tmp_path / "y.npz") as written:
        for output, value in expected.items():
            np.testing.assert_array_equal(written[output], value)
            np.testing.assert_array_equal(np.array(told[output], value.dtype), value)


def test_a_run_tells_path_seed_and_outputs(
    bundles: dict[str, Path], x: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = result_of(capsys, "run", bundles["host"], "--golden", 1, "--seed", 5)
    again = Session(bundles["host"]).run(handmade.example(batch=2), seed=5)
    assert again.path is not None and (found["path"], found["seed"]) == (again.path.tolist(), 5)
    assert found["outputs"]["y"] == {"dtype": "float32", "shape": [2, 4]}
    several = result_of(capsys, "run", bundles["host"], "--input", x / "both.npz", "--runs", 8, "--seed", 1)
    assert several["runs"] == 8 and 1 < several["distinct_paths"] <= 8 and "y.std" in several["outputs"]


def test_several_runs_tell_what_is_asked_of_them(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--runs", 64, "--seed", 3, "--draws", "stratified", "--quantiles", "0.1,0.5", "--vote", "y")
    found = result_of(capsys, "run", bundles["host"], "--golden", 1, *asked, "--output", tmp_path / "y.npz")
    session = Session(bundles["host"])
    again = session.ensemble(
        handmade.example(batch=2), runs=64, seed=3, draws="stratified", quantiles=(0.1, 0.5), vote="y"
    )
    assert again.error is not None and again.quantiles is not None and again.votes is not None
    assert found["runs"] == 64 and found["largest_error"] == again.largest_error
    with np.load(tmp_path / "y.npz") as written:
        expected = {"y": again.mean["y"], "y.std": again.std["y"], "y.error": again.error["y"]}
        expected |= {"y.quantiles": again.quantiles["y"], "large.quantiles": again.quantiles["large"]}
        expected |= {"y.vote": again.votes["y"].winner, "y.share": again.votes["y"].share}
        assert set(expected) < set(written.files) == set(found["outputs"])
        for name, array in expected.items():
            np.testing.assert_array_equal(written[name], array)
    early = result_of(capsys, "run", bundles["host"], "--golden", 1, "--runs", 5000, "--seed", 3, "--until", 3)
    assert 32 <= early["runs"] < 5000 and early["largest_error"] <= 3
    sure = result_of(capsys, "run", bundles["host"], "--golden", 1, "--decision", "most_probable")
    assert (sure["path"], sure["seed"]) == ([2, -1, 1], None)


def test_run_says_why(capsys: pytest.CaptureFixture[str], bundles: dict[str, Path]) -> None:
    found = result_of(capsys, "run", bundles["host"], "--golden", 1, "--seed", 7, "--why")
    session = Session(bundles["host"])
    expected = session.explain(golden_inputs(open_bundle(bundles["host"]), 1), seed=7)
    assert found["path"] == expected.result.path.tolist() and found["seed"] == 7
    assert found["why"] == json.loads(strict_json(expected.to_json()))
    assert [site["how"] for site in found["why"]["sites"]] == ["drawn"] * 3
    assert ended("run", bundles["host"], "--golden", 1, "--seed", 7, "--why") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"path: {found['path']}") and printed.rstrip().endswith(str(expected).rstrip())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--input", "x=x.npy"), "error: input 'offset': expected x: float32"),
        (("--input", "x=double.npy", "--input", OFFSET), "error: input 'x': expected float32, got float64"),
        (("--input", "x=pickled.npy", "--input", OFFSET), "error: --input x: expected a .npy file, got "),
        (("--input", "x=empty.npy", "--input", OFFSET), "error: --input x: expected a .npy file, got empty.npy: "),
        (("--input", "twice.json"), "error: --input twice.json: expected a JSON file, got the key 'x' twice; mend it"),
        (("--golden", "0", "--mean", "1,2,3"), "error: --golden: expected no --mean beside it"),
        (("--golden", "0", "--tokenizer", "x"), "error: --golden: expected no --tokenizer beside it"),
        (("--golden", "0", "--overwrite"), "error: --overwrite: expected --output beside it, got none"),
        (("--input", "both.npz", "--std", "1"), "error: --std: expected an image as --input beside it, got none"),
        (("--input", "x=nothing.npy"), "error: --input x: expected a .npy file, got "),
        (("--input", "x=both.json", "--input", OFFSET), "error: input 'x': "),
        (("--input", "x=x.npy", "--input", "both.npz"), "error: --input: expected every input once, got 'x' twice"),
        (("--input", "z=both.npz"), "error: --input z: expected it among x, offset of both.npz, got no such"),
        (("--input", "x.npy"), "error: --input: expected NAME=VALUE, or a .npz or .json file of inputs by name"),
        (("--input", "x.json"), "error: --input x.json: expected inputs by name, got a list; write NAME=x.json"),
        (("--input", "x=note.txt"), "; for text see --text, or write utf8:TEXT for its bytes"),
        (("--input", "x=[1,"), "error: --input x: expected a .npy, .npz, .json or image file, numbers"),
        (("--input", "x=utf8:hi"), "error: --input x: expected an input of integers 0 to 255"),
        (("--text", "hi"), "error: --text: expected a model with an input input_ids, got x, offset"),
        (("--golden", "9"), "error: golden case: expected 0..3, got 9"),
        (("--golden", "0", "--input", "x=x.npy"), "error: --golden: expected no --input beside it"),
        (("--golden", "0", "--runs", "0"), "error: --runs: expected at least 1, got 0"),
        (("--golden", "0", "--runs", "2", "--path", "1,1,0"), "error: --path: expected a single run"),
        (("--golden", "0", "--runs", "2", "--decision", "most_probable"), "error: --decision: expected a single run"),
        (("--golden", "0", "--why", "--runs", "2"), "error: --why: expected a single run that draws, got --runs"),
        (("--golden", "0", "--why", "--decision", "most_probable"), "that draws, got --decision as well"),
        (
            ("--golden", "0", "--decision", "most_probable", "--seed", "1"),
            "error: decision: expected no seed beside it",
        ),
        (("--golden", "0", "--decision", "best"), "error: argument --decision: invalid choice: 'best'"),
        (("--golden", "0", "--draws", "latin"), "error: --draws: expected --runs beside it, got a single run"),
        (("--golden", "0", "--until", "0.1"), "error: --until: expected --runs beside it, got a single run"),
        (("--golden", "0", "--quantiles", "0.5"), "error: --quantiles: expected --runs beside it, got a single run"),
        (("--golden", "0", "--vote", "y"), "error: --vote: expected --runs beside it, got a single run"),
        (("--golden", "0", "--runs", "9", "--draws", "latin"), "error: runs: expected a multiple of 16"),
        (("--golden", "0", "--runs", "9", "--until", "0.1"), "error: until: expected at least 32 runs"),
        (("--golden", "0", "--runs", "9", "--quantiles", "2"), "error: quantiles: expected shares from 0 to 1"),
        (("--golden", "0", "--runs", "9", "--vote", "large"), "error: vote: expected an output with numbers"),
        (("--golden", "0", "--path", "1,x"), "error: argument --path: expected integers joined by commas, got '1,x'"),
        (("--golden", "0", "--path", "5,0,0"), "error: path[0], site 'outer': expected -1 (draw) or 0..2, got 5"),
        (("--golden", "0", "--seed", "-1"), "error: seed: expected 0 <= seed < 2**63"),
        (("--golden", "0", "--provider", "cudo"), "error: provider: expected one of "),
        (("--golden", "0", "--target", "qnn"), "error: target: expected one of default"),
        (("--golden", "0", "--output", "y.txt"), "error: --output: expected a name that ends in .npz or .json"),
        (
            ("--golden", "0", "--output", "absent/y.npz"),
            "--output: expected a place for a file, got no folder",
        ),
        (("--golden", "0", "--output", "x.json"), "error: x.json: expected no such file, got one; choose another name"),
    ],
)
def test_bad_input_ends_with_2_in_words(
    options: tuple[str, ...],
    text: str,
    bundles: dict[str, Path],
    x: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(x)
    before = (x / "x.json").read_bytes()
    assert ended("run", bundles["explicit"], *options) == 2
    assert text in capsys.readouterr().err
    assert (x / "x.json").read_bytes() == before and not (x / "y.txt").exists()


def test_a_file_is_replaced_where_that_is_asked_for(bundles: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "y.json").write_text("old")
    assert ended("run", bundles["explicit"], "--golden", 0, "--output", tmp_path / "y.json", "--overwrite") == 0
    assert "y" in json.loads((tmp_path / "y.json").read_text())
    assert [file.name for file in tmp_path.iterdir()] == ["y.json"]


def test_what_json_cannot_say_is_not_written(tmp_path: Path) -> None:
    from rr_runtime.output_files import write_outputs

    with pytest.raises(ValueError, match=r"output 'y': expected finite numbers for JSON, got others; write a .npz"):
        write_outputs(tmp_path / "y.json", {"y": np.array([np.nan], np.float32)})
    assert list(tmp_path.iterdir()) == []
    write_outputs(tmp_path / "y.npz", {"file": np.array([np.nan], np.float32)})  # a name that numpy.savez refuses
    with np.load(tmp_path / "y.npz") as written:
        assert np.isnan(written["file"]).all()


@pytest.mark.parametrize(("interface", "cases"), [("explicit", 4), ("host", 4), ("plain", 1)])
def test_check_holds(interface: str, cases: int, bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(capsys, "check", bundles[interface])
    (form,) = found["places"][0]["forms"]
    assert found["holds"] and (form["target"], form["provider"], len(form["cases"])) == ("default", "cpu", cases)
    assert ended("check", bundles[interface]) == 0
    assert f"{cases} hold" in capsys.readouterr().out


def test_where_nothing_can_be_checked_it_does_not_hold(
    bundle: WriteBundle, bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("check", bundles["explicit"] / "model.onnx") == 1
    assert "NOTHING WAS CHECKED" in (shown := capsys.readouterr().out) and "expected golden cases, got none" in shown
    folder = bundle("standalone")
    golden = [{"seed": None, "path": None, "taken": [0, -1, 0]}]
    handmade.write_manifest(folder, {**handmade.content_of(folder), "golden": golden})
    assert ended("check", folder, bundles["explicit"]) == 1  # the other one holds
    assert "whose runs cannot be repeated" in (shown := capsys.readouterr().out) and "4 hold" in shown


def spoil_output(folder: Path) -> None:
    with np.load(folder / "golden.npz") as archive:
        arrays: dict[str, Any] = {key: archive[key] for key in archive.files}
    arrays["2/output/y"] = arrays["2/output/y"] + np.float32(0.5)
    np.savez(folder / "golden.npz", **arrays)


def spoil_weight(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    weight = handmade.WEIGHT.tobytes()
    assert weight in content
    (folder / "model.onnx").write_bytes(content.replace(weight, (handmade.WEIGHT + np.float32(1)).tobytes()))


def spoil_path(folder: Path) -> None:
    content = handmade.content_of(folder)
    content["golden"][1]["path"] = [0, -1, 0]
    handmade.write_manifest(folder, content)


@pytest.mark.parametrize(
    ("spoil", "case", "text"),
    [
        (spoil_output, 2, "output 'y': expected"),
        (spoil_weight, None, "output 'y': expected"),
        (spoil_path, 1, "expected path [1, 1, 0], got [0, -1, 0]"),
    ],
)
def test_what_is_spoilt_does_not_hold(
    spoil: Callable[[Path], None],
    case: int | None,
    text: str,
    bundle: WriteBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = bundle()
    content = handmade.content_of(folder)
    for number, row in enumerate(content["golden"]):
        row["why"] = f"reason {number}"
    handmade.write_manifest(folder, content)
    spoil(folder)
    handmade.write_manifest(folder, handmade.content_of(folder))  # the hashes are right again
    found = result_of(capsys, "check", folder, "--junit", tmp_path / "check.xml")
    failing = [row for row in found["places"][0]["forms"][0]["cases"] if not row["holds"]]
    assert not found["holds"] and failing
    if case is not None:
        assert [row["case"] for row in failing] == [case]
    assert text in failing[0]["failure"] and f"(reason {failing[0]['case']})" in failing[0]["failure"]
    assert ended("check", folder) == 1
    shown = capsys.readouterr().out
    assert "DOES NOT HOLD" in shown and f"case {failing[0]['case']}, reason {failing[0]['case']}, path" in shown
    report = (tmp_path / "check.xml").read_text()
    assert f'failures="{len(failing)}"' in report and f"reason {failing[0]['case']}" in report


def test_a_damaged_bundle_ends_with_2_and_others_are_checked(
    bundle: WriteBundle, bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundle()
    (folder / "model.onnx").write_bytes(b"x")
    assert ended("check", folder, bundles["explicit"], "--junit", tmp_path / "check.xml") == 2
    told = capsys.readouterr()
    assert "error: " in told.err and "model.onnx: expected" in told.err and "4 hold" in told.out
    assert 'errors="1"' in (tmp_path / "check.xml").read_text()
    assert ended("check", bundles["explicit"], "--junit", tmp_path / "absent" / "check.xml") == 2
    assert "--junit: expected a place for a file" in capsys.readouterr().err


def swap_manifest(folder: Path) -> None:
    content = handmade.content_of(folder)
    content["sites"][0]["name"] = "another"
    handmade.write_manifest(folder, content)


def swap_model(folder: Path) -> None:
    handmade.write_file(folder / "model.onnx", "plain", metadata="")
    handmade.write_manifest(folder, handmade.content_of(folder))


def drop_array(folder: Path) -> None:
    with np.load(folder / "golden.npz") as archive:
        arrays: dict[str, Any] = {key: archive[key] for key in archive.files if key != "1/input/x"}
    np.savez(folder / "golden.npz", **arrays)
    handmade.write_manifest(folder, handmade.content_of(folder))


@pytest.mark.parametrize("spoil", [swap_manifest, swap_model, drop_array])
def test_bug_a_form_that_is_damaged_ends_with_2(
    spoil: Callable[[Path], None], bundle: WriteBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundle()
    spoil(folder)
    assert ended("check", folder, "--junit", tmp_path / "check.xml") == 2
    shown = capsys.readouterr().out
    assert "DOES NOT HOLD" in shown and "0 of 0" not in shown and "export" in shown
    if spoil is not drop_array:
        assert "DAMAGED" in shown and 'errors="1"' in (tmp_path / "check.xml").read_text()


def test_bug_the_verdict_is_told_where_its_report_cannot_be_written(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert ended("check", bundles["explicit"], "--junit", tmp_path / "j.xml") == 2
    told = capsys.readouterr()
    assert "4 hold" in told.out
    assert "j.xml: expected a place that can be written to, got 'Permission denied'; choose another" in told.err


@pytest.mark.parametrize("command", ["run", "bench"])
def test_bug_what_cannot_be_written_is_refused_before_the_work(
    command: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("nothing is run before")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr("rr_runtime.command_runs.Session", work)
    monkeypatch.setattr("rr_runtime.tools.bench.open_session", work)
    options = ("--golden", 0, "--output", tmp_path / "y.npz") if command == "run" else ("--record",)
    assert ended(command, bundles["explicit"], *options) == 2
    assert "expected a place that can be written to, got 'Permission denied'; choose another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--path", "-1,1,-1"), {"route": [-1, 1, -1]}),
        (("--path=-1,1,-1", "--seed", "-1"), {"route": [-1, 1, -1], "seed": -1}),
        (("--mean", "-.5,1,2", "--std", "-1,1"), {"mean": [-0.5, 1.0, 2.0], "std": [-1.0, 1.0]}),
        (("--input", "x=-1"), {"inputs": ["x=-1"]}),
    ],
)
def test_bug_numbers_may_begin_with_a_minus(options: tuple[str, ...], names: dict[str, Any]) -> None:
    found = vars(parser().parse_args(["run", "out", *options]))
    assert {name: found[name] for name in names} == names


def test_bug_every_option_is_explained_and_the_cpu_is_the_provider(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("place", "bench"):
        assert vars(parser().parse_args([command, "out"]))
    (commands,) = (a.choices for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in commands.items():
        for action in command._actions:
            assert action.help, f"{name}: {action.option_strings or action.dest}"


def test_bench_is_on_the_cpu_by_default(bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(capsys, "bench", bundles["plain"], "--runs", 10, "--loads", 0)
    assert [subject["provider"] for subject in found["subjects"]] == ["cpu"]
    assert result_of(capsys, "place", bundles["plain"], "--runs", 0)["provider"] == "cpu"


@pytest.mark.parametrize("arguments", [("info",), ("run", "--golden", "0", "--json"), ("--help",)])
def test_bug_where_nobody_reads_it_ends_without_a_word(arguments: tuple[str, ...], bundles: dict[str, Path]) -> None:
    words = [*arguments[:1], *([str(bundles["explicit"])] if arguments[0] != "--help" else []), *arguments[1:]]
    reading, writing = os.pipe()
    os.close(reading)
    folder = str(Path(rr_runtime.__file__).parent.parent)
    command = [sys.executable, "-m", "rr_runtime", *words]
    done = subprocess.run(
        command, env={"PYTHONPATH": folder}, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_provider_that_is_not_here_ends_with_2(bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("check", bundles["explicit"], "--provider", "nnapi") == 2
    assert "provider: expected one of" in capsys.readouterr().err
    assert ended("check", bundles["explicit"], "--target", "qnn") == 2
    assert "target: expected one of default, all" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["info", "run", "check", "doctor", "place", "bench"])
def test_every_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(command, "--help") == 0
    shown = capsys.readouterr().out
    assert f"example: rr-runtime {command}" in shown and "exit codes: 0 holds, 1 does not hold, 2" in shown


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("check",), ("run", "out", "--runs", "x")])
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    assert "\nerror: " in capsys.readouterr().err


def test_it_runs_as_a_module_without_torch(bundles: dict[str, Path]) -> None:
    blocked = "('torch', 'onnx', 'click', 'rich', 'rr_export', 'PIL', 'tokenizers')"
    source = f"import sys; sys.modules.update(dict.fromkeys({blocked})); from rr_runtime.cli import main; main()"
    folder = str(Path(rr_runtime.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", source, "check", str(bundles["explicit"])],
        env={"PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "4 hold" in done.stdout, done.stderr
    assert ended("--version") == 0


def test_the_commands_of_the_page_are_there_with_their_options() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "device.md"
    shown = re.findall(r"^\$ rr-runtime (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {line.split()[0] for line in shown} == {"info", "run", "check"}
    for line in shown:
        assert callable(parser().parse_args(shlex.split(line, comments=True)).do)
