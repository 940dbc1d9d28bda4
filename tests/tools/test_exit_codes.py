"""doctor, place and bench end alike: 0, 1 where something does not hold, 2 on bad usage or bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import rr_export as rr
from rr_export.tools.bench import bench_view
from rr_export.tools.measuring import measure
from rr_runtime.cli import run_command
from rr_runtime.tools.opening import Fails
from tests import nets
from tests.cli.test_commands import run
from tests.tools.sabotage import forget_operator
from tests.tools.test_measuring import PYTHON

QUICK = {"doctor": (), "place": ("--runs", "0"), "bench": ("--runs", "10", "--loads", "0")}
TOOLS = sorted(QUICK)


def end_of(tool: str, folder: Path, *options: str) -> int:
    """The exit code of ``python -m rr_runtime``."""
    try:
        return run_command([tool, str(folder), *QUICK[tool], *options])
    except SystemExit as error:  # argparse
        assert isinstance(error.code, int)
        return error.code


@pytest.fixture(scope="module")
def unreadable(two_layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a target that no session opens."""
    made = rr.package(rr.load(two_layers), target="cpu", name="bad")
    return forget_operator(made.save(tmp_path_factory.mktemp("unreadable") / "bundle"), "bad.onnx")


@pytest.fixture(scope="module")
def frozen(two_layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static file of the most probable path."""
    return rr.freeze(rr.load(two_layers), [1, 1]).save(tmp_path_factory.mktemp("frozen") / "frozen")


@pytest.mark.parametrize("tool", TOOLS)
def test_0_where_all_holds(tool: str, two_layers: Path) -> None:
    assert end_of(tool, two_layers, "--provider", "cpu") == 0


@pytest.mark.parametrize("tool", TOOLS)
def test_bug_a_form_that_does_not_run_ends_with_1(tool: str, unreadable: Path, tmp_path: Path) -> None:
    assert end_of(tool, unreadable, "--provider", "cpu", "--target", "bad") == 1
    done = run(tmp_path, tool, str(unreadable), *QUICK[tool], "--provider", "cpu", "--target", "bad")
    assert done.returncode == 1 and "bad.onnx" in done.stdout + done.stderr


def test_bug_another_python_ends_with_1(unreadable: Path) -> None:
    with pytest.raises(Fails, match=r"bad\.onnx"):
        measure(["place", str(unreadable), "--provider", "cpu", "--target", "bad", "--runs", "0"], python=PYTHON)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--provider", "cpu", "--target", "tpu"), "expected one of default"),
        (("--provider", "cudo"), "did you mean 'cuda'"),
    ],
)
def test_bug_names_that_are_not_there_end_with_2(
    tool: str, options: tuple[str, ...], text: str, two_layers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(tool, two_layers, *options) == 2
    assert text in capsys.readouterr().err
    done = run(tmp_path, tool, str(two_layers), *QUICK[tool], *options)
    assert done.returncode == 2 and text in " ".join(done.stderr.split())


@pytest.mark.parametrize("tool", ["bench", "place"])
def test_bug_a_provider_that_is_not_here_ends_with_2(
    tool: str, two_layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(tool, two_layers, "--provider", "nnapi") == 2
    assert "expected one of" in capsys.readouterr().err


def test_bug_doctor_has_a_target_only_beside_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "--target", "cpu"]) == 2
    assert "expected a bundle beside it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tool", "options", "text"),
    [
        ("place", ("--runs", "-5"), "runs: expected an integer >= 0, got -5"),
        ("place", ("--threads", "-3"), "threads: expected an integer >= 1, got -3"),
        ("bench", ("--threads", "0"), "threads: expected an integer >= 1, got 0"),
        ("bench", ("--loads", "-1"), "loads: expected an integer >= 0, got -1"),
        ("bench", ("--seed", str(2**63)), "seed: expected 0 <= seed < 2**63"),
        ("bench", ("--seed", "-1"), "seed: expected 0 <= seed < 2**63"),
        ("bench", ("--usual", "1"), "usual: path: expected 2 integers, one per site, got 1"),
        ("bench", ("--usual", "1,9"), "usual: path[1], site '1': expected -1 (draw) or 0..1, got 9"),
        ("bench", ("--usual", "1,x"), "argument --usual: expected integers joined by commas, got '1,x'"),
    ],
)
def test_bug_bad_numbers_end_with_2(
    tool: str, options: tuple[str, ...], text: str, two_layers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(tool, two_layers, "--provider", "cpu", *options) == 2
    assert text in capsys.readouterr().err


def test_the_frozen_path_of_the_bundle_is_timed(two_layers: Path, frozen: Path) -> None:
    found = measure(["bench", str(two_layers), "--provider", "cpu", "--frozen", str(frozen), *QUICK["bench"]])
    assert found["holds"] and found["subjects"][0]["ratio_to_frozen"]["median"] > 0


def test_bug_a_form_that_the_frozen_path_has_not_is_said(two_layers: Path, frozen: Path, tmp_path: Path) -> None:
    folder = rr.package(rr.load(two_layers), target="cuda").save(tmp_path / "bundle")
    arguments = ["bench", str(folder), "--provider", "cpu", "--target", "cuda", "--frozen", str(frozen)]
    found = measure([*arguments, *QUICK["bench"]])
    assert found["holds"] and found["subjects"][0]["frozen"] is None
    assert "no frozen path is timed: target: expected one of default" in str(bench_view(found)[-1])


def test_bug_a_frozen_path_of_another_model_ends_with_2(
    two_layers: Path, frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = nets.layers(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.08)
    weights = rr.freeze(rr.export(model, (nets.example(),)), [1, 1]).save(tmp_path / "weights")
    other = rr.freeze(rr.export(nets.layers(3), (nets.example(),)), [1, 1, 1]).save(tmp_path / "other")
    for folder, options, text in (
        (other, (), "frozen: expected the sites ['0', '1']"),
        (frozen, ("--usual", "1,0"), "frozen: expected the path [1, 0], got [1, 1]"),
        (two_layers, (), "frozen: expected a bundle folder of one path"),
        (weights, (), "differ, rtol"),
    ):
        assert end_of("bench", two_layers, "--provider", "cpu", "--frozen", str(folder), *options) == 2
        assert text in capsys.readouterr().err


def test_bug_targets_alone_are_timed_without_a_frozen_path(two_layers: Path, tmp_path: Path) -> None:
    folder = rr.package(rr.load(two_layers), target="cuda").save(tmp_path / "device", only=["cuda"])
    done = run(tmp_path, "bench", str(folder), *QUICK["bench"], "--json", "b.json")
    (subject,) = json.loads((tmp_path / "b.json").read_text())["subjects"]
    assert done.returncode == 0 and subject["law"] and subject["frozen"] is None
    assert "no frozen path is timed: the bundle has targets only" in " ".join(done.stderr.split())
