"""Reports are written where they replace earlier ones only: never a bundle's file, nor one of another kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import rr_export as rr
from tests.cli.test_commands import run

# A command, and the options that name a file for a report.
REPORTS = {
    ("verify", "out", "--against", "out", "--max-paths", "2"): ("--json", "--junit", "--sarif", "--markdown"),
    ("diff", "out", "out", "--runs", "0", "--max-paths", "2"): ("--json", "--markdown"),
    ("bench", "out", "--runs", "10", "--loads", "0", "--no-frozen"): ("--json", "--plot"),
    ("search", "out", "--data=my_sums:data", "--metric=my_sums:worth", "--costs=parameters"): ("--json", "--plot"),
    ("attribute", "out", "--data=my_sums:data", "--metric=my_sums:worth"): ("--json",),
    ("lint", "out"): ("--output",),
    ("lint", "out", "--format", "json"): ("--output",),
    ("lint", "out", "--format", "sarif"): ("--output",),
    ("lint", "out", "--format", "codequality"): ("--output",),
}
SUMS = """
import numpy as np

def data():
    return [({"input": np.ones((2, 8), np.float32)}, 0)]

def worth(outputs, target):
    return float(next(iter(outputs.values())).sum())
"""
ASKED = [(command, option) for command, options in REPORTS.items() for option in options]
each_option = pytest.mark.parametrize(("command", "option"), ASKED, ids=[f"{c[0]} {c[-1]} {o}" for c, o in ASKED])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(rr.LayerChoice(torch.nn.Linear(8, 8), 0.5) for _ in range(2))).eval()
    return rr.export(model, (torch.randn(2, 8),)).save(tmp_path_factory.mktemp("reports") / "out")


@pytest.fixture
def place(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "out")
    (tmp_path / "my_sums.py").write_text(SUMS)
    return tmp_path


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@each_option
def test_bug_reports_replaced_files_of_the_bundle(place: Path, command: tuple[str, ...], option: str) -> None:
    before = content_of(place / "out")
    names = ["out/new.svg"] if option == "--plot" else ["out/model.onnx", "out/manifest.json", "out/new.txt"]
    for name in names:
        done = run(place, *command, f"{option}={name}")
        assert done.returncode == 2 and not done.stdout
        assert f"{option}: expected a place outside of bundles, got {name}" in " ".join(done.stderr.split())
    assert content_of(place / "out") == before


@each_option
def test_an_earlier_report_is_replaced_and_nothing_else(place: Path, command: tuple[str, ...], option: str) -> None:
    name = "report.svg" if option == "--plot" else "report"
    file = place / name
    first, again = (run(place, *command, f"{option}={name}").returncode for _ in range(2))
    assert first == again == 0 and file.stat().st_size
    file.write_bytes(b"\x08\x0a\0")
    done = run(place, *command, f"{option}={name}")
    assert done.returncode == 2 and not done.stdout
    assert f"{option}: expected a new file, or " in done.stderr
    assert file.read_bytes() == b"\x08\x0a\0"


def test_a_picture_is_known_again(place: Path) -> None:
    command = ("bench", "out", "--runs", "10", "--loads", "0", "--no-frozen", "--plot", "latency.png")
    assert run(place, *command).returncode == run(place, *command).returncode == 0


def test_every_report_has_a_file_of_its_own(place: Path) -> None:
    done = run(place, "verify", "out", "--against", "out", "--json=report", "--junit", "./report")
    assert done.returncode == 2 and "--junit: expected a file of its own, got that of --json" in done.stderr


def test_the_users_results_are_no_files_of_a_bundle(place: Path) -> None:
    for option in ("--results=out/new", "--worst=out/new.npz"):
        done = run(place, "verify", "out", "--against", "out", "--data", "x.npy", option)
        assert done.returncode == 2
        assert f"{option.partition('=')[0]}: expected a place outside of bundles" in " ".join(done.stderr.split())
