"""Runs every example as a reader would, and checks the figures that it prints."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rr_runtime import Session

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

pytest.importorskip("sklearn", reason="the examples need the extra demo")


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == {"two_paths", "markov_chain"}


def test_two_paths(tmp_path: Path) -> None:
    figures = load("two_paths").main(tmp_path / "bundle")
    assert figures["verified"]
    # The bound of Hoeffding's inequality: a sound file fails once in a million.
    assert figures["within_bound"]
    assert figures["observed"]["layer1"] == pytest.approx(0.7, abs=0.02)
    assert figures["observed"]["layer1"] + figures["observed"]["layer2"] == pytest.approx(1)
    # A constant predictor has R^2 <= 0, ordinary least squares 0.36 on this split.
    assert min(figures["r2"].values()) > 0.25
    worst, best = sorted(figures["r2"].values())
    assert worst <= figures["r2_expected"] <= best
    # The squared error is convex, so averaging the outputs is at least as good as averaging the scores.
    assert figures["r2_of_mean_output"] >= figures["r2_expected"]
    for part, number in (("training", 0), ("test", 1)):
        loss = figures["losses"][part]
        assert loss["expected"] == pytest.approx(0.7 * loss["layer1"] + 0.3 * loss["layer2"])
        assert loss["mean output"] <= loss["expected"]
        assert max(loss.values()) < 0.75 * figures["losses_alone"]["constant"][number]
    alone = {name: losses[0] for name, losses in figures["losses_alone"].items()}
    assert alone["layer1"] < alone["layer2"] < alone["constant"] == pytest.approx(1.0, abs=1e-4)  # of the training data
    assert Session(tmp_path / "bundle").check() > 0


@pytest.mark.slow
def test_two_paths_exits_with_1_outside_the_bound() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import two_paths; two_paths.BOUND = -1.0\n"
    script += "two_paths.RUNS = 50; sys.exit(0 if two_paths.main()['within_bound'] else 1)"
    result = subprocess.run([sys.executable, "-c", script, str(EXAMPLES)], capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stderr
    assert "within -1.0000 of P: False" in result.stdout


def test_markov_chain(tmp_path: Path) -> None:
    example = load("markov_chain")
    figures = example.main(tmp_path / "bundle")
    assert figures["verified"]
    assert len(figures["rows"]) == example.COMPARED
    assert figures["within_bound"]
    # Ten classes: chance is 0.1.
    assert figures["accuracy_expected"] > 0.93
    assert min(figures["accuracy"].values()) > 0.9
    assert len(figures["accuracy"]) == 2 * 3 * 2
    by_event = {event: p for event, p, _ in figures["rows"]}
    assert by_event["step 1 none"] == pytest.approx(0.4 * 0.7 + 0.6 * 0.1)
    assert by_event["step 2 small"] == pytest.approx(0.34 * 0.9 + 0.26 * 0.5 + 0.4 * 0.2)
    assert Session(tmp_path / "bundle").check() > 0


def test_markov_chain_tells_a_chain_from_independent_steps() -> None:
    example = load("markov_chain")
    names = [("small", "large"), ("none", "small", "large"), ("small", "large")]
    law, generator = example.INITIAL, np.random.default_rng(0)
    steps = []
    for t in range(len(names)):
        law = law if t == 0 else law @ example.TRANSITIONS[t - 1]
        steps.append(generator.choice(len(law), size=example.RUNS, p=law))
    rows = example.compare(np.stack(steps, axis=1), names)
    single = [abs(p - frequency) for event, p, frequency in rows if "then" not in event]
    pairs = [abs(p - frequency) for event, p, frequency in rows if "then" in event]
    assert max(single) < example.BOUND < max(pairs)
