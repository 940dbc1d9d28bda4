"""``rr-export search``: the front that the function finds, kept, drawn and written as a menu."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import rr_export as rr
from rr_export.cli import main
from rr_export.cli.search import METHODS as ASKED
from rr_export.quality.searching import METHODS
from rr_runtime import Session
from tests.quality.toys import COST, DATA, WORTH, known_front, toy_bundle, toy_costs, worth

SITES = 6
SOURCE = """
import sys
import numpy as np

MADE = []

def listed():
    MADE.append(1)
    return [({"x": np.full((2, 1), k, np.float32)}, np.full(2, k)) for k in (0, 1)]

def generated():
    print("a generator begins")
    yield from listed()

def worth(outputs, target):
    return next(iter(outputs.values()))[:, 0] - target

def whole(outputs, targets):
    assert len(outputs) == len(targets) == 2
    return float(np.mean([worth(o, t).mean() for o, t in zip(outputs, targets)]))

whole.whole = True

def failing(outputs, target):
    raise KeyError("no such key")

def number():
    return 7
"""
BASE = ["search", "out", "--costs", "bench.json", "--metric", "MINE:worth", "--data", "MINE:listed"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(WORTH[:SITES]).save(tmp_path_factory.mktemp("searched") / "out")


@pytest.fixture
def place(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder with the bundle, its measured costs, and a module of the user's that no other test has imported."""
    shutil.copytree(saved, tmp_path / "out")
    costs = toy_costs(COST[:SITES])
    names = [site.name for site in rr.load(saved).plan.sites]
    branches = [
        {"site": name, "branch": branch, "cost_ms": cost}
        for name, row in zip(names, costs.branches, strict=True)
        for branch, cost in zip(("skip", "run"), row, strict=True)
    ]
    figures = {"tool": "bench", "subjects": [{"name": "cpu", "model": {"base_ms": costs.base, "branches": branches}}]}
    (tmp_path / "bench.json").write_text(json.dumps(figures))
    module = "mine_" + re.sub(r"\W", "_", request.node.name)
    (tmp_path / f"{module}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr("tests.cli.test_search_command.MINE", module, raising=False)
    return tmp_path


def call(*arguments: str) -> Result:
    """Runs the command line as a process would, with the user's module in place of MINE."""
    given = [part.replace("MINE", globals()["MINE"]) for part in arguments]

    class Program:
        """What CliRunner runs: the whole program, with its exit codes."""

        name = "rr-export"

        def main(self, args: list[str], **_: Any) -> None:
            main(args)

    return CliRunner().invoke(Program(), given)  # type: ignore[arg-type]


def test_the_front_is_printed_kept_and_drawn(place: Path) -> None:
    done = call(*BASE, "--json", "front.json", "--plot", "front.svg", "--results", "values.jsonl")
    assert done.exit_code == 0, done.output
    told = json.loads((place / "front.json").read_text())
    found = {tuple(row["path"]): (row["cost"], row["quality"]) for row in told["paths"] if row["front"]}
    assert set(found) == set(known_front(SITES))
    for path, figures in known_front(SITES).items():
        assert found[path] == pytest.approx(figures, abs=1e-5)
    assert (told["metric"], told["unit"], told["method"]) == ("worth", "ms", "exact")
    assert f"{len(found)} paths, none better and cheaper" in done.output
    picture = (place / "front.svg").read_text()
    assert "rr-export search" in picture and picture.startswith("<?xml")
    before = (place / "values.jsonl").read_text()
    assert call(*BASE, "--json", "front.json", "--plot", "front.svg", "--results", "values.jsonl").exit_code == 0
    assert (place / "values.jsonl").read_text() == before
    assert json.loads((place / "front.json").read_text()) == told
    in_python = rr.search(place / "out", DATA, worth, rr.Costs.from_bench("bench.json", rr.load("out").plan))
    assert {p.path for p in in_python.paths} == set(found)


def test_a_menu_is_in_the_bundle(place: Path) -> None:
    model = (place / "out" / "model.onnx").read_bytes()
    done = call(*BASE, "--menu")
    assert done.exit_code == 0 and "not proven yet: rr-export verify out MODEL" in done.output
    assert (place / "out" / "model.onnx").read_bytes() == model
    session = Session(place / "out")
    front = known_front(SITES)
    most = toy_costs(COST[:SITES]).base + sum(COST[:SITES])
    path = session.run(DATA[0][0], budget=0.75, seed=1).path
    assert path is not None
    best = max((value for cost, value in front.values() if cost <= 0.75 * most), default=0.0)
    assert front[tuple(path.tolist())][1] == pytest.approx(best)
    again = call(*BASE, "--menu")
    assert again.exit_code == 0 and "profiles as before" in again.output
    changed = rr.load("out").with_profile(
        "mine", rr.load("out").plan, measured=rr.evaluate("out", DATA, np_worth).measured(toy_costs([1.0] * SITES))
    )
    changed.save("out", overwrite=True)
    refused = call(*BASE, "--menu")
    assert refused.exit_code == 2
    assert "menu: expected profiles measured by 'worth', got 'mine' by 'np_worth'" in " ".join(refused.output.split())


def np_worth(outputs: Any, target: Any) -> float:
    return float(np.mean(worth(outputs, target)))


def test_generators_are_begun_again_and_lists_are_made_once(place: Path) -> None:
    given = ["--evaluations", "20", "--method", "greedy", "--seed", "1"]
    listed = call(*BASE, *given, "--json", "listed.json")
    module = sys.modules[globals()["MINE"]]
    assert listed.exit_code == 0 and module.MADE == [1]
    generated = call(*BASE[:-1], "MINE:generated", *given, "--json", "generated.json")
    assert generated.exit_code == 0 and len(module.MADE) > 10
    assert "a generator begins" not in generated.stdout
    files = [json.loads((place / name).read_text()) for name in ("listed.json", "generated.json")]
    assert files[0] == files[1] and files[0]["method"] == "greedy"


def test_metrics_of_whole_data_sets_and_two_processes(place: Path) -> None:
    one = call(*BASE[:4], "--metric", "MINE:whole", "--data", "MINE:listed", "--json", "one.json")
    two = call(*BASE, "--json", "two.json", "--jobs", "2")
    assert one.exit_code == two.exit_code == 0, two.output
    whole, rows = (json.loads((place / name).read_text())["paths"] for name in ("one.json", "two.json"))
    assert [row["quality"] for row in whole] == pytest.approx([row["quality"] for row in rows])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--metric", "MINE:failing"], 3, "to return, got KeyError: 'no such key'"),
        (["--metric", "MINE:number"], 2, "to be called with 2 arguments, got number()"),
        (["--data", "MINE:number"], 2, "to return an iterable, got int"),
        (["--jobs", "0"], 2, "--jobs: expected a number of workers"),
        (["--plot", "front.pdf"], 2, "--plot: expected a name that ends in .png or .svg"),
        (["--json", "out/front.json"], 2, "--json: expected a place outside of bundles"),
        (["--results", "out/values.jsonl"], 2, "--results: expected a place outside of bundles"),
        (["--costs", "flops", "--form", "cpu"], 2, "--form: expected the FILE of a bench as --costs, got a unit"),
        (["--size", "batch=2"], 2, "--size: expected flops, parameters or bytes as --costs, got a file"),
        (["--method", "exact", "--evaluations", "5"], 2, "evaluations: expected all 64 paths for the method 'exact'"),
    ],
)
def test_what_cannot_be_is_told(place: Path, arguments: list[str], code: int, text: str) -> None:
    done = call(*BASE, *arguments)
    assert done.exit_code == code and text in " ".join(done.output.split()), done.output


def test_a_file_has_no_room_for_a_menu(place: Path) -> None:
    done = call("search", "out/model.onnx", *BASE[2:], "--menu")
    assert done.exit_code == 2 and "--menu: expected a bundle folder, got" in " ".join(done.output.split())
    assert call("search", "out/model.onnx", *BASE[2:]).exit_code == 0


def test_the_methods_are_those_of_the_function() -> None:
    assert ASKED == METHODS
