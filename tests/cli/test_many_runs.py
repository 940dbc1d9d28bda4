"""``run`` of several runs: designs, early ends, quantiles, votes; and of the most probable path."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest

from rr_export.cli.run import run as command
from rr_runtime import Session
from rr_runtime.designs import DESIGNS
from tests.cli.test_commands import SOURCE, run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "my_models.py").write_text(SOURCE)
    assert run(folder, "export", "my_models:small", "out").returncode == 0
    return folder


def test_what_is_asked_of_several_runs_is_told_and_written(place: Path) -> None:
    asked = ("--runs", "256", "--draws", "latin", "--until", "9", "--quantiles", "0.5", "--vote", "output")
    done = run(place, "run", "out", "--golden", "0", "--seed", "2", *asked, "--json", "--output", "y.npz")
    found = json.loads(done.stdout)
    inputs = {"input": np.ones((4, 8), np.float32)}
    expected = Session(place / "out").ensemble(inputs, runs=128, seed=2, draws="latin", quantiles=0.5, vote="output")
    assert found["runs"] == 128 and found["largest_error"] == expected.largest_error
    parts = {"output", *(f"output.{part}" for part in ("std", "error", "quantiles", "vote", "share"))}
    assert found["outputs"].keys() == parts and found["outputs"]["output.vote"] == {"dtype": "int64", "shape": [4]}
    assert expected.votes is not None
    with np.load(place / "y.npz") as written:
        np.testing.assert_array_equal(written["output"], expected.mean["output"])
        np.testing.assert_array_equal(written["output.share"], expected.votes["output"].share)


def test_the_most_probable_path_is_run(place: Path) -> None:
    sure = json.loads(run(place, "run", "out", "--golden", "0", "--decision", "most_probable", "--json").stdout)
    assert (sure["path"], sure["seed"]) == ([1, 1], None)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--draws", "latin"), "--draws: expected --runs beside it, got a single run"),
        (("--runs", "3", "--decision", "most_probable"), "--decision: expected a single run, got --runs as well"),
        (("--runs", "3", "--draws", "latin"), "runs: expected a multiple of 16"),
        (("--runs", "3", "--vote", "logits"), "vote: expected an output of output, got 'logits'"),
        (("--runs", "3", "--quantiles", "a"), "--quantiles: expected numbers joined by commas"),
    ],
)
def test_what_cannot_be_asked_is_refused(place: Path, options: tuple[str, ...], text: str) -> None:
    done = run(place, "run", "out", "--golden", "0", *options)
    assert done.returncode == 2 and text in " ".join(done.stderr.split())


def test_the_designs_that_are_offered_are_those_of_the_runtime() -> None:
    (draws,) = (option for option in command.params if option.name == "draws")
    assert isinstance(draws.type, click.Choice) and tuple(draws.type.choices) == DESIGNS
