"""What changed: each aspect is changed by itself, and told; what did not change is called the same."""

from __future__ import annotations

import copy
import functools
import json
import linecache
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.diff.weight_changes import Weights, compare_weights
from rr_export.report.changes import ASPECTS, Aspect, Changes
from tests.cli.test_commands import SOURCE, run
from tests.cli.without_torch import run_commands

KINDS = """
import torch
from torch import nn

import rr_export as rr


class Drop(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        if self.training and torch.rand(()) < 0.5:
            return x
        return self.layer(x)


def drop():
    torch.manual_seed(0)
    return Drop().eval(), (torch.ones(2, 4),)


def plain():
    torch.manual_seed(0)
    return nn.Linear(4, 2).eval(), (torch.ones(2, 4),)


def routed():
    torch.manual_seed(0)
    return nn.Sequential(rr.LayerChoice(nn.Linear(4, 4), 0.5), nn.ReLU()).eval(), (torch.ones(2, 4),)
"""
ARGS = (torch.linspace(-1, 1, 32).reshape(4, 8),)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(2)), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


def made(keep: float = 0.8, pattern: str = "layers.*") -> nn.Module:
    torch.manual_seed(0)
    model = Net().eval()
    rr.route_layers(model, pattern, keep=keep)
    return model


def retrained() -> nn.Module:
    model = made()
    with torch.no_grad():
        model.get_submodule("head").weight[0, 0] += 0.1
    return model


class Sharper(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).abs()


def sharper() -> nn.Module:
    model = made()
    model.__class__ = Sharper
    return model


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rr.export(made(), ARGS).save(tmp_path_factory.mktemp("diff") / "before")


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        (made, set()),
        (lambda: made(keep=0.7), {"laws", "paths"}),
        (lambda: made(pattern="layers.0"), {"sites", "paths", "graph", "outputs"}),
        (retrained, {"weights", "outputs"}),
        (sharper, {"graph", "outputs"}),
    ],
)
def test_what_changed_is_told_and_nothing_else(before: Path, after: Callable[[], nn.Module], changed: set[str]) -> None:
    changes = rr.diff(before, rr.export(after(), ARGS), timed_runs=0)
    told = [aspect for aspect in changes.aspects if aspect.name not in ("size", "latency")]
    assert set(changes.changed([aspect.name for aspect in told])) == changed
    assert all(aspect.details or "other sites" in aspect.summary for aspect in told if aspect.changed)
    assert json.loads(json.dumps(changes.to_json()))["format"] == "rr.changes"
    for name in changed:
        assert name in changes.markdown() and name in str(changes)


def test_how_far_weights_and_laws_moved(before: Path) -> None:
    weights, laws = (
        next(a for a in rr.diff(before, rr.export(model, ARGS), timed_runs=0).aspects if a.name == name)
        for model, name in ((retrained(), "weights"), (made(keep=0.7), "laws"))
    )
    assert weights.details[0].startswith("head.weight: moved by") and weights.figures["changed"] == 1
    assert laws.figures["largest_difference"] == pytest.approx(0.1)
    assert laws.details[0] == "layers.0: [0.2 0.8] -> [0.3 0.7]"


def test_outputs_agree_on_data_and_latency_is_timed(before: Path) -> None:
    data = [{"x": np.full((4, 8), n, np.float32)} for n in range(3)]
    changes = rr.diff(before, rr.export(retrained(), ARGS), data=data, timed_runs=10)
    outputs, latency = (next(a for a in changes.aspects if a.name == name) for name in ("outputs", "latency"))
    assert outputs.figures["inputs"] == 3 and outputs.figures["agreement"]["output"]["cosine_least"] < 1
    assert 0.1 < latency.figures["ratio"] < 10 and len(latency.figures["before_ms"]) == 3


def test_an_aspect_that_was_not_compared_is_no_agreement() -> None:
    changes = Changes("a", "b", (Aspect("outputs", None, "other inputs"), Aspect("laws", False, "2 sites")))
    assert changes.changed() == ["outputs"] and changes.changed(["laws"]) == []
    assert changes.changed(["laws", "latency"]) == ["latency"]
    assert set(ASPECTS) >= {a.name for a in changes.aspects}


@pytest.mark.parametrize("data", [None, []])
def test_bug_outputs_without_inputs_were_left_out(
    before: Path, tmp_path: Path, data: list[dict[str, np.ndarray]]
) -> None:
    lone = rr.export(retrained(), ARGS, golden=0).save(tmp_path / "lone.onnx")
    changes = rr.diff(lone, lone, data=data, timed_runs=1)
    assert changes.changed(["weights", "outputs", "latency"]) == ["outputs", "latency"]
    told = [a.summary for a in changes.aspects if a.changed is None]
    assert all("expected inputs, got none" in text and "--data" in text for text in told)
    if data is None:  # the golden cases of the other one have some
        assert rr.diff(lone, before, timed_runs=0).changed(["outputs"]) == ["outputs"]
        assert rr.diff(lone, rr.export(retrained(), ARGS), timed_runs=0).changed(["outputs"]) == []


def test_bug_two_weights_gone_were_one_renamed() -> None:
    def of(**weights: np.ndarray) -> Weights:
        return {name: functools.partial(np.copy, array) for name, array in weights.items()}

    zeros = np.zeros(3, np.float32)
    weights = compare_weights(of(a=zeros, b=zeros), of(c=zeros))
    assert weights.changed and weights.details == ("- b", "a is called c now")
    assert not compare_weights(of(a=zeros, b=zeros), of(c=zeros, d=zeros)).changed
    odd = compare_weights(of(a=zeros, b=zeros), of(a=np.array([0, np.nan, 0], np.float32), b=zeros + 1))
    assert odd.details[0] == "a: 1 of 3 numbers are NaN or infinite on one side or both"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff_cli")
    (folder / "diff_models.py").write_text(SOURCE)
    assert run(folder, "export", "diff_models:small", "out").returncode == 0
    return folder


def test_the_command_exits_by_what_changed(place: Path) -> None:
    same = run(place, "diff", "out", "diff_models:small", "--runs", "0")
    assert same.returncode == 0 and "changed" not in same.stdout, same
    done = run(place, "diff", "out", "diff_models:other", "--runs", "0", "--json=d.json", "--markdown", "d.md")
    assert done.returncode == 1 and "weights" in done.stdout, done
    assert json.loads((place / "d.json").read_text())["after"] and "**changed**" in (place / "d.md").read_text()
    laws = run(place, "diff", "out", "diff_models:other", "--runs", "0", "--fail-on", "laws,paths")
    never = run(place, "diff", "out", "diff_models:other", "--runs", "0", "--fail-on", "never", "--json")
    assert (laws.returncode, never.returncode) == (0, 0) and json.loads(never.stdout)["version"] == 1
    wrong = run(place, "diff", "out", "out", "--fail-on", "law")
    assert wrong.returncode == 2 and "expected some of sites, laws" in wrong.stderr


def test_bug_a_misspelt_bundle_was_taken_for_a_model(place: Path) -> None:
    done = run(place, "diff", "out", "nope")
    assert done.returncode == 2 and "diff: expected a bundle or a model" in done.stderr
    assert "got 'nope', where nothing is; check the path" in " ".join(done.stderr.split())
    (ended,) = run_commands([("diff", "out", "nope")], place)
    assert ended.code == 2 and "got 'nope', where nothing is" in " ".join(ended.printed.split())


def test_checkpoints_are_compared_by_their_weights(place: Path) -> None:
    one = {"a": torch.ones(3), "b": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor([2**53 + 1])}
    other = copy.deepcopy(one) | {"c": torch.ones(1)}
    other["n"] += 1
    torch.save(one, place / "one.pt")
    torch.save({"state_dict": other}, place / "other.pt")
    assert run(place, "diff", "one.pt", "one.pt").returncode == 0
    done = run(place, "diff", "one.pt", "other.pt", "--json")
    (weights,) = json.loads(done.stdout)["aspects"]
    assert done.returncode == 1 and weights["figures"]["new"] == ["c"] and weights["figures"]["changed"] == 1
    assert run(place, "diff", "one.pt", "out").returncode == 2
    one_of_two = run(place, "diff", "out", "one.pt")
    assert one_of_two.returncode == 2 and "expected two checkpoints, or a bundle before" in one_of_two.stderr
    outputs = run(place, "diff", "one.pt", "other.pt", "--fail-on", "laws,outputs")
    assert outputs.returncode == 2 and "expected some of weights, any or never of checkpoints" in outputs.stderr
    assert run(place, "diff", "one.pt", "other.pt", "--fail-on", "any").returncode == 1


def test_checkpoints_of_types_that_numpy_has_not(place: Path) -> None:
    numbers = torch.tensor([1.0, 2.0, 0.5])
    torch.save({"a": numbers.to(torch.bfloat16), "b": numbers.to(torch.float8_e4m3fn)}, place / "small.pt")
    torch.save({"a": numbers, "b": numbers.to(torch.float8_e5m2)}, place / "wide.pt")
    torch.save({"a": numbers.to_sparse()}, place / "sparse.pt")
    assert run(place, "diff", "small.pt", "small.pt").returncode == 0
    done = run(place, "diff", "small.pt", "wide.pt", "--json")
    (weights,) = json.loads(done.stdout)["aspects"]
    assert weights["details"] == ["a: bfloat16 [3] -> float32 [3]", "b: float8_e4m3fn [3] -> float8_e5m2 [3]"]
    sparse = run(place, "diff", "sparse.pt", "sparse.pt")
    assert sparse.returncode == 2 and "sparse.pt: a: expected a dense tensor of numbers" in sparse.stderr
    (place / "folder.pt").mkdir()
    folder = run(place, "diff", "small.pt", "folder.pt")
    assert folder.returncode == 2 and "folder.pt: expected a checkpoint, got a folder" in folder.stderr


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
def test_bug_a_model_was_not_exported_like_the_bundle(place: Path) -> None:
    (place / "diff_kinds.py").write_text(KINDS)
    for name, options in {"drop": ["--keep-training-routes"], "plain": [], "routed": ["--target", "xnnpack"]}.items():
        assert run(place, "export", f"diff_kinds:{name}", f"kind_{name}", *options).returncode == 0
        done = run(place, "diff", f"kind_{name}", f"diff_kinds:{name}", "--runs", "0", "--json")
        assert done.returncode == 0, (name, done.stdout, done.stderr)
    latency = run(place, "diff", "kind_plain", "kind_plain", "--runs", "0", "--fail-on", "latency")
    assert latency.returncode == 2 and "any or never with --runs 0, got 'latency'" in latency.stderr


MOVED = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            if torch.rand(()) < 0.7:
                x = torch.tanh(layer(x))
        return x


def own():
    torch.manual_seed(0)
    return Own().eval(), (torch.ones(2, 4),)
"""


def rewrite(place: Path, text: str) -> None:
    """The module has another text for this process too."""
    (place / "diff_moved.py").write_text(text)
    sys.modules.pop("diff_moved", None)
    for compiled in (place / "__pycache__").glob("diff_moved.*"):
        compiled.unlink()
    linecache.clearcache()


def test_bug_a_comment_above_the_model_made_it_another(place: Path) -> None:
    rewrite(place, MOVED)
    assert run(place, "export", "diff_moved:own", "moved").returncode == 0
    rewrite(place, f"# a comment\n{MOVED}")
    verified = run(place, "verify", "moved", "diff_moved:own", "--json")
    rows = {row["name"]: row for row in json.loads(verified.stdout)["checks"]}
    assert verified.returncode == 0 and rows["paths"]["passed"] and rows["streams"]["passed"]
    assert rows["sites"]["summary"].endswith("such as diff_moved.py:13[0] on diff_moved.py:14[0]")
    same = run(place, "diff", "moved", "diff_moved:own", "--runs", "0", "--json")
    aspects = {row["name"]: row for row in json.loads(same.stdout)["aspects"]}
    assert same.returncode == 0 and aspects["outputs"]["changed"] is False and aspects["laws"]["changed"] is False
    assert aspects["sites"]["details"][0] == "diff_moved.py:13[0] is on another line now: diff_moved.py:14[0]"
    rewrite(place, f"# a comment\n{MOVED.replace('0.7', '0.6')}")
    law = run(place, "verify", "moved", "diff_moved:own")
    assert law.returncode == 1 and "site 'diff_moved.py:13[0]': expected" in " ".join(law.stdout.split())
    rewrite(place, f"# a comment\n{MOVED.replace('torch.tanh', 'torch.sin')}")
    assert run(place, "verify", "moved", "diff_moved:own").returncode == 1
    assert run(place, "diff", "moved", "diff_moved:own", "--runs", "0").returncode == 1
