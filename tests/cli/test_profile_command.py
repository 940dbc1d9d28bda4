"""``rr-export profile``: laws that options say are in the bundle, and runs take them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rr_export import load
from tests.cli.test_commands import run

SOURCE = """
import torch
from torch import nn
import rr_export as rr

def net():
    torch.manual_seed(0)
    small, large = nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    chain = rr.Markov([0.5, 0.5], [[[0.9, 0.1], [0.1, 0.9]]])
    operation = rr.OperationChoice({"small": small, "large": large}, rr.Categorical([0.7, 0.3]))
    chained = [rr.LayerChoice(nn.Linear(8, 8), policy=chain.step(t)) for t in range(2)]
    return nn.Sequential(rr.LayerChoice(nn.Linear(8, 8), 0.8), operation, *chained).eval(), (torch.ones(2, 8),)

def operations():
    torch.manual_seed(0)
    choice = rr.OperationChoice({"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)}, rr.Categorical([0.7, 0.3]))
    return nn.Sequential(choice).eval(), (torch.ones(2, 8),)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile_cli")
    (folder / "profile_models.py").write_text(SOURCE)
    assert run(folder, "export", "profile_models:net", "out").returncode == 0
    assert run(folder, "export", "profile_models:operations", "operations").returncode == 0
    assert run(folder, "export", "profile_models:operations", "alone.onnx").returncode == 0
    assert run(folder, "export", "profile_models:operations", "standalone", "--interface", "standalone").returncode == 0
    assert run(folder, "package", "operations", "device", "--target", "qnn", "--only").returncode == 0
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "place"))


def laws(place: Path, name: str) -> list[list[list[float]]]:
    law = load(place / "out").profiles[name].law
    assert law is not None
    return [site.policy.table.tolist() for site in law.sites]


OWN = [[[0.2, 0.8]], [[0.7, 0.3]], [[0.5, 0.5]], [[0.9, 0.1], [0.1, 0.9]]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--keep", "0.25"), [[[0.75, 0.25]], OWN[1], [[0.75, 0.25]], [[0.75, 0.25]]]),
        (("--law", "1=0.5,0.5"), [OWN[0], [[0.5, 0.5]], *OWN[2:]]),
        (("--law", "[023]=0,1", "--law", "1=1,0"), [[[0, 1]], [[1, 0]], [[0, 1]], [[0, 1]]]),
    ],
)
def test_options_say_the_law(place: Path, options: tuple[str, ...], expected: list[list[list[float]]]) -> None:
    done = run(place, "profile", "out", "new", *options)
    assert done.returncode == 0 and "not proven yet: rr-export verify out MODEL --record" in done.stdout, done
    for found, table in zip(laws(place, "new"), expected, strict=True):
        assert found == [pytest.approx(row) for row in table]


def test_what_is_put_there_is_run_listed_proven_and_taken_away(place: Path) -> None:
    measured = ("--cost", "0.4", "--quality", "0.7", "--metric", "f1")
    assert run(place, "profile", "out", "short", "--path", "0,0,0,1", *measured, "--spread", "0.1").returncode == 0
    found = json.loads(run(place, "run", "out", "--golden", "0", "--budget", "0.5", "--json").stdout)
    assert (found["path"], found["profile"]) == ([0, 0, 0, 1], "short")
    named = json.loads(run(place, "run", "out", "--golden", "0", "--profile", "short", "--json").stdout)
    assert named["outputs"] == found["outputs"] and named["path"] == [0, 0, 0, 1]
    told = json.loads(run(place, "inspect", "out", "--json").stdout)["profiles"]
    assert told[0]["measured"] == {"cost": 0.4, "quality": 0.7, "spread": 0.1, "metric": "f1"}
    shown = run(place, "inspect", "out").stdout
    assert all(text in shown for text in ("path 0,0,0,1", "40.0%", "0.7 +- 0.1")), shown
    again = run(place, "profile", "out", "short", "--path", "1,0,0,1")
    assert again.returncode == 2 and "expected no profile 'short', got one" in again.stderr
    assert run(place, "profile", "out", "short", "--path", "1,0,0,1", "--overwrite").returncode == 0
    assert run(place, "run", "out", "--golden", "0", "--budget", "0.5").returncode == 2  # nothing is measured any more
    proof = run(place, "verify", "out", "profile_models:net", "--record")
    assert proof.returncode == 0 and "profile short" in proof.stdout
    told = ("--cost", "0.5", "--quality", "0.7", "--metric", "f1", "--overwrite")
    same = run(place, "profile", "out", "short", "--path", "1,0,0,1", *told)
    other = run(place, "profile", "out", "short", "--path", "0,0,0,1", *told)
    assert ("not proven" in same.stdout, "not proven" in other.stdout) == (False, True)
    assert run(place, "profile", "out", "short", "--remove").returncode == 0
    assert not load(place / "out").profiles


def measured(place: Path, name: str, path: str, *, cost: str, quality: str, metric: str = "f1") -> None:
    told = ("--path", path, "--cost", cost, "--quality", quality, "--metric", metric)
    assert run(place, "profile", "out", name, *told).returncode == 0


def test_menu_tells_what_a_budget_gets(place: Path) -> None:
    nothing = run(place, "menu", "out")
    assert nothing.returncode == 0 and "profiles of which nothing was measured: none" in nothing.stdout
    bare = run(place, "menu", "out", "--plot", "menu.svg")
    assert bare.returncode == 2 and "--plot: expected measured profiles, got none" in bare.stderr
    measured(place, "full", "1,1,1,1", cost="1", quality="0.9")
    measured(place, "short", "0,0,0,1", cost="0.4", quality="0.7")
    assert run(place, "profile", "out", "later", "--keep", "0.5").returncode == 0
    told = json.loads(run(place, "menu", "out", "--json").stdout)
    assert [row["name"] for row in told["profiles"]] == ["short", "full"] and told["not_measured"] == ["later"]
    for row in told["budgets"]:
        done = run(place, "run", "out", "--golden", "0", "--budget", str(row["budget"]), "--json")
        assert (json.loads(done.stdout)["profile"] if done.returncode == 0 else None) == row["profile"]
    shown = run(place, "menu", "out")
    assert shown.returncode == 0 and "quality: f1" in shown.stdout and "nothing was measured: later" in shown.stdout
    assert shown.stdout.index("short") < shown.stdout.index("full")
    measured(place, "other", "0,1,0,1", cost="0.5", quality="7", metric="bleu")
    mixed = run(place, "menu", "out")
    assert mixed.returncode == 0
    assert "a budget compares qualities of several metrics (f1, bleu)" in " ".join(mixed.stderr.split())


def test_menu_draws_a_picture_over_an_earlier_one_and_nothing_else(place: Path) -> None:
    measured(place, "full", "1,1,1,1", cost="1", quality="0.9")
    for name in ("menu.svg", "menu.png", "menu.svg"):
        assert run(place, "menu", "out", "--plot", name).returncode == 0
    (place / "other.svg").write_text("mine")
    for name, text in {
        "other.svg": "--plot: expected a new file, or an earlier report of that form",
        "menu.pdf": "--plot: expected a name that ends in .png or .svg",
        "out/menu.svg": "--plot: expected a place outside of bundles",
    }.items():
        done = run(place, "menu", "out", "--plot", name)
        assert done.returncode == 2 and text in " ".join(done.stderr.split())
    assert (place / "other.svg").read_text() == "mine" and not (place / "out" / "menu.svg").exists()


def test_a_folder_for_a_device_keeps_the_menu(place: Path) -> None:
    measured(place, "full", "1,1,1,1", cost="1", quality="0.9")
    assert run(place, "package", "out", "phone", "--target", "qnn", "--only").returncode == 0
    of_device, own = (json.loads(run(place, "menu", name, "--json").stdout) for name in ("phone", "out"))
    assert of_device == own and own["profiles"]
    absent = run(place, "menu", "absent")
    assert absent.returncode == 2 and "absent: expected" in absent.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("out", "new"), "profile: expected a law by one of --keep, --law, --path, --remove, got none"),
        (
            ("out", "new", "--keep", "1", "--path", "1"),
            "profile: expected a law by one of --keep, --law, --path, --remove, got",
        ),
        (("out", "new", "--keep", "1.5"), "--keep: expected a probability from 0 to 1, got 1.5"),
        (("out", "new", "--keep", "nan"), "--keep: expected a probability from 0 to 1, got nan"),
        (("operations", "new", "--keep", "1"), "--keep: expected a bundle with layers that are skipped, got none"),
        (
            ("out", "new", "--law", "9=0.5,0.5"),
            "--law: expected SITE=P,P with a site among 0, 1, 2, 3, got '9=0.5,0.5'",
        ),
        (("out", "new", "--law", "0"), "--law: expected SITE=P,P with a site among 0, 1, 2, 3, got '0'"),
        (("out", "new", "--law", "0=a"), "--law: expected numbers joined by commas, got 'a'"),
        (("out", "new", "--law", "*=1,0", "--law", "0=1,0"), "--law: expected every site once, got '0' twice"),
        (("out", "new", "--law", "0=0.5,0.6"), "expected probabilities"),
        (("out", "new", "--law", "0=0.2,0.3,0.5"), "expected a policy over 2 branches, got one over 3"),
        (("out", "new", "--law", "2=0.5,0.5"), "expected the steps"),
        (("out", "new", "--path", "1,0"), "path: expected 4 integers"),
        (("out", "new", "--path", "1,0,1,-1"), "path: expected a route for site '3', which is reached on"),
        (("out", "", "--path", "1,0,1,1"), "profile: expected a name, got ''"),
        (("out", "new", "--remove"), "expected the profile 'new', got none"),
        (("out", "new", "--remove", "--cost", "1"), "--cost: expected no --remove beside it, got one"),
        (("out", "new", "--keep", "1", "--cost", "1"), "--cost: expected --quality beside it, got none"),
        (("out", "new", "--keep", "1", "--spread", "1"), "--spread: expected --cost beside it, got none"),
        (
            ("out", "new", "--keep", "1", "--cost", "-1", "--quality", "1", "--metric", "f1"),
            "measured: expected a cost from 0",
        ),
        (("absent", "new", "--keep", "1"), "got nothing there"),
        (("alone.onnx", "new", "--law", "0=1,0"), "alone.onnx: expected a bundle in a folder"),
        (("standalone", "new", "--law", "0=1,0"), "profile: expected a model whose runs take a path"),
        (("device", "new", "--law", "0=1,0"), "device: expected the routed model model.onnx, got targets only"),
    ],
)
def test_what_is_no_law_is_refused_in_words(made: Path, arguments: tuple[str, ...], text: str) -> None:
    before = (made / "out" / "manifest.json").read_bytes()
    done = run(made, "profile", *arguments)
    assert done.returncode == 2 and text in " ".join(done.stderr.split()), done
    assert (made / "out" / "manifest.json").read_bytes() == before
