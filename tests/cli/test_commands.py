"""The command line as a user meets it: outputs, exit codes, errors."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from rr_export import load
from rr_export.cli import main

SOURCE = """
import torch
from torch import nn
import rr_export as rr

def small(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)).eval()
    rr.route_layers(model, "[01]", keep=0.8)
    return {"model": model, "args": (torch.ones(4, 8),), "dynamic_shapes": {"input": {0: "batch"}}}

def other():
    return small(1)

def training():
    case = small()
    case["model"].train()
    return case

def plain():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)).eval()
    return {"model": model, "args": (torch.ones(4, 8),), "dynamic_shapes": {"input": {0: "batch"}}}

def slow():
    raise SystemExit("was called")

def nothing():
    return 3

def raising():
    raise RuntimeError("no weights")

def keys():
    return {"net": 3}

def unfit():
    return {**small(), "args": (torch.ones(4, 9),)}

class Ends(nn.Module):
    def __init__(self, ends):
        super().__init__()
        self.layer, self.ends = nn.Linear(8, 2), ends

    def forward(self, input):
        if self.ends is not None:
            raise self.ends
        return self.layer(input)

def leaving():
    return Ends(SystemExit(0)).eval(), (torch.ones(4, 8),)

def at_end():
    return Ends(EOFError("no more")).eval(), (torch.ones(4, 8),)

def interrupted():
    return Ends(KeyboardInterrupt()).eval(), (torch.ones(4, 8),)
"""


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(place: Path, *arguments: str) -> Done:
    """Calls the command as the console script does, in this process (importing torch takes seconds)."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(place)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as caught:
            main(list(arguments))
    finally:
        os.chdir(before)
    return Done(int(caught.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "my_models.py").write_text(SOURCE)
    assert run(folder, "export", "my_models:small", "out").returncode == 0
    np.save(folder / "x.npy", np.ones((4, 8), np.float32))
    for name in ("empty.npy", "empty.npz"):
        (folder / name).touch()
    np.savez(folder / "wrong.npz", x=np.ones((4, 8), np.float32))
    return folder


def test_verify_holds(place: Path) -> None:
    done = run(place, "verify", "out", "my_models:small", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["passed"] is True
    assert "verifying: law" in done.stderr
    assert not (place / "out" / "parity.json").exists()  # it is verified, not changed
    recorded = run(place, "verify", "out", "my_models:small", "--record", "--json=report.json")
    assert recorded.returncode == 0 and "the same model" in recorded.stdout
    written = json.loads((place / "report.json").read_text())
    assert written["passed"] is True and json.loads((place / "out" / "parity.json").read_text()) == written
    (place / "out" / "parity.json").unlink()


def test_verify_exits_with_1_on_a_mismatch(place: Path) -> None:
    done = run(place, "verify", "out", "my_models:other")
    assert done.returncode == 1
    assert "NOT the same model" in done.stdout and "FAILS" in done.stdout


def test_layers_are_routed_and_weights_loaded_by_options(place: Path) -> None:
    torch.manual_seed(7)
    weights = {"2.weight": torch.randn(2, 8), "2.bias": torch.randn(2)}
    weights |= {f"{n}.{name}": torch.randn(shape) for n in (0, 1) for name, shape in (("weight", (8, 8)), ("bias", 8))}
    torch.save(weights, place / "weights.pt")
    model = ("--route", "[01]", "--keep", "0.8", "--weights", "weights.pt")
    done = run(place, "export", "my_models:plain", "by_options", *model)
    assert done.returncode == 0 and "2 sites, 4 paths" in done.stdout and "routed 0 (Linear)" in done.stderr
    assert run(place, "verify", "by_options", "my_models:plain", *model).returncode == 0
    several = ("--route", "0", "--keep", "0.8", "--route", "1", "--keep", "0.7", "--weights", "weights.pt")
    assert run(place, "verify", "by_options", "my_models:plain", *several).returncode == 1
    assert run(place, "verify", "by_options", "my_models:plain", *model[:4]).returncode == 1


def test_verify_on_the_users_data(place: Path) -> None:
    np.savez(place / "many.npz", input=np.linspace(-1, 1, 160, dtype=np.float32).reshape(5, 4, 8))
    done = run(place, "verify", "out", "my_models:small", "--data", "many.npz", "--data", "x.npy", "--json")
    (data,) = [c for c in json.loads(done.stdout)["checks"] if c["name"] == "data"]
    assert done.returncode == 0 and data["figures"]["inputs"] == 6 and data["figures"]["pairs"] > 6
    done = run(place, "verify", "out", "my_models:other", "--data", "many.npz", "--worst", "worst.npz", "--json")
    (data,) = [c for c in json.loads(done.stdout)["checks"] if c["name"] == "data"]
    far = data["figures"]["largest_differences"][0]["input"]
    many, worst = (np.load(place / name)["input"] for name in ("many.npz", "worst.npz"))
    assert done.returncode == 1 and np.array_equal(worst, many[far])
    again = run(place, "verify", "out", "my_models:other", "--data", "worst.npz", "--worst", "worst.npz")
    assert again.returncode == 2 and "expected no such file, got one" in again.stderr
    done = run(place, "verify", "out", "--against", "out", "--data", "many.npz", "--json", "--max-paths", "2")
    assert done.returncode == 0 and "5 inputs" in str(json.loads(done.stdout)["checks"])
    done = run(
        place, "verify", "out", "my_models:other", "--max-paths", "1", "--rtol", "output=9", "--atol", "float32=9"
    )
    assert done.returncode == 0  # whatever it gives


def test_verify_targets_on_the_users_data(place: Path) -> None:
    np.savez(place / "rows.npz", input=np.linspace(-1, 1, 160, dtype=np.float32).reshape(5, 4, 8))
    assert run(place, "package", "out", "forms", "--target", "cuda", "--target", "cpu").returncode == 0
    done = run(place, "verify", "forms", "--target", "all", "--data", "rows.npz", "--json")
    checks = {check["name"]: check["figures"] for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0
    assert checks["target cuda, data"]["inputs"] == checks["target cpu, data"]["inputs"] == 5
    done = run(place, "verify", "forms", "--target", "all", "--data", "rows.npz", "--results", "kept.jsonl")
    assert done.returncode == 2 and "results: expected one target" in done.stderr


def test_verify_against_a_bundle(place: Path) -> None:
    done = run(place, "verify", "out/model.onnx", "--against", "out", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["passed"] is True
    assert [c["name"] for c in report["checks"]] == [
        *("contract", "weights", "paths", "nearest", "streams", "law", "laziness")
    ]
    done = run(place, "verify", "out", "--against", "out", "--input", "input=x.npy", "--max-paths", "2")
    assert done.returncode == 0 and "the same model" in done.stdout


def test_verify_against_exits_with_1_on_a_mismatch(place: Path) -> None:
    assert run(place, "export", "my_models:other", "another").returncode == 0
    done = run(place, "verify", "another/model.onnx", "--against", "out")
    assert done.returncode == 1
    assert "NOT the same model" in done.stdout and "FAILS" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "out"), "--target NAME, got none"),
        (("verify", "out", "my_models:small", "--against", "out"), "got MODEL and --against"),
        (("verify", "out", "my_models:small", "--input", "input=x.npy"), "expected --against or --target beside it"),
        (("verify", "out", "my_models:small", "--share", "0.1"), "--share: expected --against beside it"),
        (("verify", "absent.onnx", "--against", "out"), "absent.onnx: expected an ONNX model"),
        (("verify", "out", "--against", "absent"), "got nothing there"),
        (("verify", "nowhere", "my_models:small"), "got nothing there"),
        (("verify", "out", "my_models"), "expected MODULE:FUNCTION"),
        (
            ("verify", "out", "my_models:absent"),
            "expected a function of my_models, got no 'absent' in it; name one of: small, other,",
        ),
        (("verify", "out", "my_models:nothing"), "to return (model, args)"),
        (("verify", "out", "my_models:small", "--max-paths", "0"), "--max-paths"),
        (("export", "my_models:training", "elsewhere"), "expected a model in evaluation mode"),
        (("export", "my_models:small", "elsewhere", "--opset", "22"), "opset from 18 to 21"),
        (("export", "my_models:other", "out"), "got one with other content"),
        (("run", "out", "--input", "input=x.npy", "--seed", "-1"), "seed"),
        (("run", "out", "--input", "input=x.npy", "--path", "1"), "path"),
        (("run", "out", "--input", "input=x.npy", "--path", "a,b"), "integers joined by commas"),
        (("run", "out", "--input", "inptu=x.npy"), "input"),
        (("run", "out", "--input", "x.npy"), "expected NAME=VALUE"),
        (("run", "out", "--golden", "7"), "expected 0..3, got 7"),
        (("run", "out", "--golden", "0", "--provider", "quantum"), "cpu"),
        (("run", "out", "--golden", "0", "--runs", "3", "--path", "1,1"), "single run"),
        (
            ("run", "out", "--golden", "0", "--output", "absent/y.npz"),
            "expected a place for a file, got no folder",
        ),
        (("run", "out", "--golden", "0", "--input", "input=x.npy"), "expected no --input beside it"),
        (("run", "out", "--input", "input=x.npy", "--input", "input=x.npy"), "got 'input' twice"),
        (("export", "my_models:keys", "elsewhere"), "expected the keys model, args, kwargs, dynamic_shapes"),
        (("verify", "out", "my_models:small", "--data", "empty.npy"), "--data: expected a .npy file, got empty.npy"),
        (
            ("verify", "out", "--against", "out", "--input", "input=empty.npy"),
            "--input input: expected a .npy file, got",
        ),
        (("run", "out", "--input", "input=empty.npy"), "--input input: expected a .npy file, got empty.npy"),
        (
            ("export", "my_models:small", "new", "--golden", "empty.npz"),
            "--golden: expected a .npz file, got empty.npz",
        ),
        (
            ("package", "out", "new", "--target", "cpu", "--precision", "qdq", "--calibration", "empty.npz"),
            "--calibration: expected a .npz file, got empty.npz",
        ),
        (("verify", "out", "my_models:small", "--data", "absent.npz"), "--data: expected a .npz file, got absent.npz"),
        (
            ("verify", "out", "my_models:small", "--data", "rows"),
            "--data: expected a .npz or .npy file or MODULE:FUNCTION",
        ),
        (("verify", "out", "my_models:small", "--data", "my_models:no"), "--data: expected a function of my_models"),
        (("export", "my_models:small", "elsewhere", "--golden", "my_models:no"), "--golden: expected a function of"),
        (("verify", "out", "my_models:small", "--data", "my_models:nothing"), "to return an iterable, got int"),
        (("verify", "out", "my_models:small", "--data", "wrong.npz"), "expected an array for each of ['input']"),
        (("verify", "out", "my_models:small", "--rtol", "output"), "--rtol: expected a number >= 0 or NAME=NUMBER"),
        (("verify", "out", "my_models:small", "--rtol", "1", "--rtol", "output=1"), "got both"),
        (("verify", "out", "my_models:small", "--rtol", "logits=1"), "expected an output or a dtype"),
        (("verify", "out", "--against", "out", "--record"), "expected a bundle folder and MODEL"),
        (("verify", "out", "my_models:small", "--json=out"), "--json: expected a place for a file, got the folder out"),
        (("verify", "out", "my_models:small", "--junit", "absent/r.xml"), "got no folder absent"),
        (
            ("export", "my_models:plain", "elsewhere", "--route", "[01]"),
            "--keep: expected one for all or one for each of 1",
        ),
        (("export", "my_models:slow", "out"), "got one with other content"),
        (("export", "my_models:slow", "elsewhere", "--opset", "22"), "opset from 18 to 21"),
        (("export", "my_models:slow", "elsewhere", "--size", "batch=2"), "expected a target beside them"),
        (("export", "my_models:plain", "elsewhere", "--require-sites"), "or drop require_sites (--require-sites)"),
        (("export", "my_models:plain", "elsewhere", "--keep", "0.5"), "--keep: expected --route PATTERN beside it"),
        (
            ("export", "my_models:plain", "elsewhere", "--route", "x.*", "--keep", "0.5"),
            "expected 'x.*' to match a module",
        ),
        (
            ("export", "my_models:plain", "elsewhere", "--weights", "absent.pt"),
            "expected a checkpoint, got no such file",
        ),
        (("verify", "out", "--against", "out", "--weights", "w.pt"), "--weights: expected"),
        (
            ("export", "my_models:slow", "elsewhere", "--weights", "absent.pt"),
            "expected a checkpoint, got no such file",
        ),
        (
            ("export", "my_models:slow", "elsewhere", "--golden", "absent.npz"),
            "--golden: expected a .npz file, got absent",
        ),
        (
            ("export", "my_models:slow", "one.onnx", "--target", "cpu"),
            "expected a folder for a bundle with targets (cpu)",
        ),
        (("export", "my_models:slow", "one.onnx", "--external-data"), "expected weights that fit into one file"),
        (("package", "out", "one.onnx", "--target", "cpu"), "expected a folder for a bundle with"),
        (("inspect", "out", "--size", "batch=0"), "AXIS=N"),
        (("inspect", "out", "--size", "foo=3"), "expected sizes of ['batch'], got ['foo']"),
        (("dance",), "No such command"),
    ],
)
def test_bad_usage_exits_with_2(place: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(place, *arguments)
    assert done.returncode == 2, done
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (place / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "message", "line"),
    [
        (
            ("export", "my_models:raising", "elsewhere"),
            "my_models.py:32: expected my_models:raising to return, got RuntimeError: no weights; mend it there",
            'raise RuntimeError("no weights")',
        ),
        (("verify", "out", "my_models:unfit"), "4x9", "in forward"),
        (("export", "my_models:unfit", "elsewhere"), "4x9", "in forward"),
        (("verify", "out", "my_models:leaving"), "expected a model that runs, got SystemExit: 0; mend", "raise self."),
        (("export", "my_models:leaving", "elsewhere"), "expected a model that runs, got SystemExit: 0", "raise self."),
    ],
)
def test_what_fails_in_the_users_code_exits_with_3(
    place: Path, arguments: tuple[str, ...], message: str, line: str
) -> None:
    done = run(place, *arguments)
    assert done.returncode == 3, done
    assert message in " ".join(done.stderr.split())
    assert "Traceback" in done.stderr and line in " ".join(done.stderr.split())
    assert "users_code.py" not in done.stderr and "rr_export/cli" not in done.stderr
    whole = run(place, *arguments, "--traceback")
    assert whole.returncode == 3 and "rr_export/cli" in whole.stderr
    assert not (place / "elsewhere").exists()


@pytest.mark.parametrize(
    ("model", "code"), [("small", 0), ("other", 1), ("raising", 3), ("leaving", 3), ("interrupted", 130)]
)
def test_reports_are_written_whatever_came_out(place: Path, tmp_path: Path, model: str, code: int) -> None:
    files = {form: tmp_path / f"report.{form}" for form in ("json", "junit", "sarif", "markdown")}
    asked = [f"--{form}={file}" for form, file in files.items()]
    done = run(place, "verify", "out", f"my_models:{model}", "--max-paths", "1", *asked)
    assert done.returncode == code, done
    report = json.loads(files["json"].read_text())
    assert report["passed"] is (code == 0) and ("error" in report) is (code > 1)
    suite = ET.parse(files["junit"]).getroot()[0]
    assert (int(suite.get("failures") or 0) > 0, int(suite.get("errors") or 0) > 0) == (code == 1, code > 1)
    assert bool(json.loads(files["sarif"].read_text())["runs"][0]["results"]) is (code > 0)
    assert ("✅ out" in files["markdown"].read_text()) is (code == 0)


WATCHED: list[tuple[str, list[tuple[str, object]]]] = []  # folders, and what was done to change something there


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    changes = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "os.symlink"}
    writes = event == "open" and any(letter in str(arguments[1]) for letter in "wax+")
    for folder, found in WATCHED:
        if (writes or event in changes) and any(str(part).startswith(folder) for part in arguments):
            found.append((event, arguments[0]))


sys.addaudithook(_watch)


def test_a_bundle_is_verified_without_a_write_into_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError("read-only")

    folder, found = str(place / "out"), list[tuple[str, object]]()
    WATCHED.append((folder, found))
    try:
        done = run(place, "verify", folder, "my_models:small", "--max-paths", "1")
        assert done.returncode == 0 and found == []
        (place / "out" / "note.txt").write_text("what is watched is seen")
        (place / "out" / "note.txt").unlink()
        assert [event for event, _ in found] == ["open", "os.remove"]
    finally:
        WATCHED.clear()
    monkeypatch.setattr("rr_export.bundle.bundle.write_atomically", refuse)
    done = run(place, "verify", "out", "my_models:small", "--max-paths", "1", "--record")
    assert done.returncode == 2 and "the same model" in done.stdout and "read-only" in done.stderr, done


@pytest.mark.parametrize("command", [("inspect", "out"), ("run", "out", "--golden", "0", "--json"), ("--help",)])
def test_bug_where_nobody_reads_it_ends_without_a_word(place: Path, command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "rr_export", *command],
        cwd=place,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_bug_of_one_file_golden_cases_were_told(place: Path) -> None:
    done = run(place, "export", "my_models:small", "alone.onnx", "--golden", "2")
    assert done.returncode == 0 and "golden" not in done.stdout and "2 sites" in done.stdout


def test_bug_names_are_no_markup(place: Path) -> None:
    done = run(place, "export", "my_models:small", "odd/[/b]")
    assert done.returncode == 0 and "[/b]" in done.stdout
    assert "[/b]" in " ".join(run(place, "inspect", "odd/[/b]").stdout.split())


def test_run_takes_a_seed_and_a_path(place: Path) -> None:
    seeded = json.loads(run(place, "run", "out", "--input", "input=x.npy", "--seed", "7", "--json").stdout)
    assert seeded["seed"] == 7 and seeded["outputs"] == {"output": {"dtype": "float32", "shape": [4, 2]}}
    forced = json.loads(run(place, "run", "out", "--golden", "0", "--path", "1,0", "--json").stdout)
    assert forced["path"] == [1, 0]


def test_run_writes_outputs_once(place: Path) -> None:
    arguments = ("run", "out", "--golden", "0", "--runs", "20", "--seed", "0", "--output", "y.npz")
    assert run(place, *arguments).returncode == 0
    with np.load(place / "y.npz") as arrays:
        assert sorted(arrays.files) == ["output", "output.error", "output.std"]
        assert arrays["output.std"].max() > 0
    again = run(place, *arguments)
    assert again.returncode == 2 and "expected no such file" in again.stderr


def test_inspect_shows_sites_cost_and_contract(place: Path) -> None:
    done = run(place, "inspect", "out")
    assert done.returncode == 0
    shown = " ".join(done.stdout.split())
    for text in ("2 sites, 4 paths", "skip, run", "0.2, 0.8", "82.2%", "1 random node"):
        assert text in shown
    found = json.loads(run(place, "inspect", "out", "--json", "--size", "batch=4").stdout)
    # three linear layers of 8x8, 8x8 and 8x2 with biases; the first two run with probability .8
    assert found["parameters"] == 2 * 72 + 18
    assert found["parameters_used"] == pytest.approx(0.8 * 2 * 72 + 18)
    assert found["flops"] == 4 * 2 * (64 + 64 + 16)
    assert found["flops_used"] == pytest.approx(4 * 2 * (0.8 * 128 + 16))


def test_bench_prints_ratios(place: Path) -> None:
    done = run(place, "bench", "out", "--runs", "10")
    assert done.returncode == 0 and "ratio" in done.stdout


def test_version_and_help_of_the_module() -> None:
    done = subprocess.run([sys.executable, "-m", "rr_export", "--version"], capture_output=True, text=True, check=True)
    assert "0.1.0" in done.stdout
    text = run(Path.cwd(), "--help").stdout
    assert all(name in text for name in ("export", "verify", "run", "inspect", "bench", "demo"))


def test_golden_says_which_runs_are_recorded(place: Path) -> None:
    np.savez(place / "a.npz", input=np.full((2, 8), 0.5, np.float32))
    (place / "my_data.py").write_text(
        "import torch\n\ndef inputs():\n    return [(torch.full((n, 8), 2.0),) for n in (3, 5)]\n"
    )
    done = run(place, "export", "my_models:small", "one", "--golden", "1")
    assert done.returncode == 0 and "1 golden cases" in done.stdout
    assert "branches that no golden case takes: 0: skip, 1: skip" in " ".join(done.stdout.split())
    data = ("--golden", "a.npz", "--golden", "my_data:inputs")
    done = run(place, "export", "my_models:small", "mine", *data)
    assert done.returncode == 0 and "4 golden cases" in done.stdout and "no golden case" not in done.stdout
    assert [len(case.inputs["input"]) for case in load(place / "mine").golden] == [2, 3, 5, 2]
    packaged = ("package", "out", "device", "--target", "qnn", "--size", "batch=1", "--only", "--golden", "a.npz")
    assert run(place, *packaged).returncode == 0
    told = json.loads((place / "device" / "manifest.json").read_text())["golden"]
    assert next(row["why"] for row in told if "your input 1" in row["why"]) == "most probable path, your input 1"


@pytest.mark.parametrize(
    ("golden", "message"),
    [
        ("absent.npz", "--golden: expected a .npz file, got absent.npz"),
        ("many", "--golden: expected how many runs, a .npz file or MODULE:FUNCTION, got 'many'"),
        ("my_models:small", "--golden: expected my_models:small to return a list of inputs, got dict"),
        ("wrong.npz", "golden: your input 1: expected arguments among input, got x"),
    ],
)
def test_golden_that_is_none_exits_with_2(place: Path, golden: str, message: str) -> None:
    done = run(place, "export", "my_models:small", "elsewhere", "--golden", golden)
    assert done.returncode == 2 and message in " ".join(done.stderr.split())
    assert not (place / "elsewhere").exists()
