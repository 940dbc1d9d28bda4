"""``rr-export place``: where nodes run, and verdicts on what skipping saves. No test depends on a time."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import rr_export as rr
from rr_export.tools.place import place_view
from rr_runtime.bundle import open_bundle
from rr_runtime.tools import place as tool
from rr_runtime.tools.advice import advise
from rr_runtime.tools.assignment import Assigned, Assignment
from rr_runtime.tools.choices import choices, most_probable_routes
from tests.cli.test_commands import run
from tests.tools.sabotage import compute_outside


def test_places_a_bundle(saved: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "place", str(saved), "--runs", "8", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["holds"]
    assert (found["provider"], found["target"], found["form"], found["copies"]) == ("cpu", "default", "routed", [])
    parts = {part["part"]: part["providers"]["cpu"] for part in found["parts"]}
    assert sum(parts.values()) == found["counts"]["cpu"] == len(found["nodes"])
    assert parts["first: run"] > 5 and parts["outside all branches"] > 20
    assert [site["site"] for site in found["sites"]] == [s.name for s in open_bundle(saved).manifest.sites]
    assert all(site["cheapest"] != site["dearest"] and not site["whole"] for site in found["sites"])
    assert any("timing branches" in line for line in done.stderr.splitlines())


def test_prints_tables(two_layers: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "place", str(two_layers), "--runs", "6")
    assert done.returncode == 0
    for words in (
        "outside all branches",
        "what skipping saves",
        "copies between devices in the graph: 0",
        "onnxruntime",
    ):
        assert words in done.stdout
    done = run(tmp_path, "place", str(two_layers), "--runs", "0")
    assert done.returncode == 0 and "what skipping saves" not in done.stdout


def test_branches_that_are_computed_outside_are_found(two_layers: Path, tmp_path: Path) -> None:
    compute_outside(two_layers, tmp_path / "outside", keep_scopes=True)
    done = run(tmp_path, "place", "outside", "--runs", "0")
    assert done.returncode == 1
    assert "lie outside them" in " ".join(done.stdout.split()) and "remedy: export again" in done.stdout


def test_without_scopes_the_branches_are_seen_to_be_equal(two_layers: Path, tmp_path: Path) -> None:
    folder = compute_outside(two_layers, tmp_path / "outside", keep_scopes=False)
    found = tool.place(folder, "cpu", runs=0)
    inside = {part["part"]: part["providers"] for part in found["parts"]}
    assert inside["0: skip"] == inside["0: run"] == {"cpu": 1}
    honest = {part["part"]: part["providers"] for part in tool.place(two_layers, "cpu", runs=0)["parts"]}
    assert inside["outside all branches"]["cpu"] >= honest["outside all branches"]["cpu"] + 2


def test_nodes_without_names_are_not_told(two_layers: Path, tmp_path: Path) -> None:
    folder = compute_outside(two_layers, tmp_path / "outside", keep_scopes=False, named=False)
    parts = {part["part"]: part["providers"] for part in tool.place(folder, "cpu", runs=0)["parts"]}
    assert parts["not told"] == {"cpu": 4} and "0: run" not in parts


def verdict(two_layers: Path, *, saving: float) -> dict[str, Any]:
    """The verdict on site 0, for times with noise of 1 and a true saving."""
    bundle = open_bundle(two_layers)
    random = np.random.default_rng(0)
    base = random.normal(10, 3, 40)
    times = {(0, 1): base + random.normal(0, 1, 40), (1, 1): base + random.normal(0, 1, 40) + saving}
    return tool._site_entry(bundle, 0, ((0, 1), (1, 1)), times, 0.95)


def test_verdicts(two_layers: Path) -> None:
    found = verdict(two_layers, saving=5.0)
    assert (found["verdict"], found["cheapest"], found["dearest"]) == ("saves", "skip", "run")
    assert found["saving_ms"][0] < 5000 < found["saving_ms"][2]
    assert verdict(two_layers, saving=0.0)["verdict"] == "not distinguishable from noise"


def test_bug_the_dearest_is_told_by_pairs(two_layers: Path) -> None:
    # A third of the rounds is disturbed, for one branch only: its median by itself is the higher one.
    kind = np.arange(30) % 3
    times = {(0, 1): np.choose(kind, [1.0, 5.0, 8.0]), (1, 1): np.choose(kind, [1.5, 1.5, 8.5])}
    assert np.median(times[0, 1]) > np.median(times[1, 1])
    found = tool._site_entry(open_bundle(two_layers), 0, ((0, 1), (1, 1)), times, 0.95)
    assert (found["cheapest"], found["saving_ms"][1] > 0) == ("skip", True)


def test_an_if_taken_whole_that_saves_nothing_has_a_remedy(two_layers: Path) -> None:
    bundle = open_bundle(two_layers)
    entry = verdict(two_layers, saving=0.0) | {"whole": True}
    nodes = (Assigned("model.onnx", "If", "If", "qnn", ()),)
    found = Assignment("assignment", True, nodes, (0,), (), (), None)
    (warning,) = tool._about_savings(bundle, None, "qnn", found, [entry])
    assert warning.about == "savings" and "qnn took its If whole, and may compute both branches" in warning.text
    assert "--target qnn" in warning.remedy
    entry |= {"verdict": "saves"}
    assert tool._about_savings(bundle, None, "qnn", found, [entry]) == []


def test_bug_files_in_onnxruntimes_own_format_do_not_say_their_branches(two_layers: Path, tmp_path: Path) -> None:
    made = rr.package(rr.load(two_layers), target="cpu", format="ort", name="routed")
    made = rr.package(made, target="cpu", form="segments", format="ort", name="cut")
    folder = made.save(tmp_path / "bundle")
    routed = tool.place(folder, "cpu", target="routed", runs=1)
    assert routed["told_by"] == "profile" and routed["counts"]["cpu"] > 10
    assert [part["part"] for part in routed["parts"]] == ["not told"]
    assert [site["whole"] for site in routed["sites"]] == [None, None]
    (told,) = [warning for warning in routed["warnings"] if warning["about"] == "told"]
    assert "in which branches the nodes lie is not told" in told["text"]
    cut = tool.place(folder, "cpu", target="cut", runs=0)
    assert {"0: run", "1: run"} <= {part["part"] for part in cut["parts"]} and "not told" not in str(cut["parts"])
    assert cut["warnings"] == []


def test_bug_nothing_told_is_not_none_at_all(two_layers: Path) -> None:
    nothing = Assignment(None, False, (), (), (), (), None)
    assert nothing.count() is None
    warnings = advise(open_bundle(two_layers), None, "xnnpack", nothing)
    assert [warning.about for warning in warnings] == ["told"]
    machine = dict.fromkeys(("processor", "architecture", "system", "package", "onnxruntime", "numpy", "python"), "x")
    result = {"bundle": "b", "target": "t", "form": "routed", "provider": "xnnpack", "told_by": None, "counts": None,
              "parts": [], "sites": [], "copies": None, "warnings": [], "machine": machine | {"cores": 1}}  # fmt: skip
    console = Console(width=80, file=io.StringIO(), record=True)
    for part in place_view(result):
        console.print(part)
    text = console.export_text()
    assert "not told" in text and " 0 " not in text


def test_paths_of_every_branch(saved: Path) -> None:
    sites = open_bundle(saved).manifest.sites
    usual = most_probable_routes(sites)
    assert usual[2:5] == (1, 0, 1)  # the most probable course of the chain, not of each step
    for choice in choices(sites, usual):
        assert len(choice.paths) == len(sites[choice.site].branches)
        assert [path[choice.site] for path in choice.paths] == list(range(len(choice.paths)))
        for path in choice.paths:
            assert any(all(path[s] == b for s, b in call) for call in sites[choice.site].calls)


def test_bad_arguments(two_layers: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "place", str(two_layers / "model.onnx"))
    assert done.returncode == 2 and "got a single file without" in " ".join(done.stderr.split())
    done = run(tmp_path, "place", str(two_layers), "--provider", "cudo")
    assert done.returncode == 2 and "did you mean 'cuda'" in " ".join(done.stderr.split())
    done = run(tmp_path, "place", str(two_layers), "--target", "tpu")
    assert done.returncode == 2 and "expected one of default" in " ".join(done.stderr.split())


@pytest.mark.parametrize("interface", ["standalone"])
def test_a_file_that_takes_no_path_is_placed_and_not_timed(interface: str, tmp_path: Path) -> None:
    from tests import nets

    folder = rr.export(nets.layers(2), (nets.example(),), interface=interface).save(tmp_path / "bundle")
    found = tool.place(folder, "cpu", runs=8)
    assert found["sites"] == [] and found["counts"]["cpu"] > 10
