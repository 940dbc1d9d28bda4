"""The three training loops, shortened: each trains, exports, proves, and obeys a budget."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn", reason="the examples need the extra demo")

import rr_export as rr
from examples.trainers import routed_digits
from rr_export import training
from rr_runtime import Session

LOOPS = {"plain": "torch", "hf_trainer": "accelerate", "lightning_trainer": "pytorch_lightning"}


@pytest.fixture(autouse=True)
def few_layers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(routed_digits, "LAYERS", 3)
    monkeypatch.setattr(routed_digits, "COSTS", [(0.0, 1 / 3)] * 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def test_every_loop_is_tested() -> None:
    files = {file.stem for file in Path(routed_digits.__file__).parent.glob("*.py")}
    assert files == {*LOOPS, "__init__", "routed_digits"}


@pytest.mark.filterwarnings("ignore")  # each trainer has hints of its own
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_trains_exports_proves_and_obeys_a_budget(name: str, tmp_path: Path) -> None:
    pytest.importorskip(LOOPS[name], reason="the loop needs the extra test")
    found = importlib.import_module(f"examples.trainers.{name}").main(tmp_path / "bundle", epochs=2)
    # Ten classes: chance is .1.
    assert min(found.values()) > 0.5
    session = Session(tmp_path / "bundle")
    _, _, (x, y) = routed_digits.read_data()
    cheap = session.run({"input": x}, budget=0.6)
    assert cheap.path is not None
    assert (cheap.path == 1).sum() <= 2
    assert routed_digits.right(cheap.outputs, y).mean() == pytest.approx(found[0.6])
    learned = [site.policy.table[0, 1] for site in rr.load(tmp_path / "bundle").plan.sites]
    assert all(abs(keep - 0.75) > 1e-6 for keep in learned)


def test_the_loss_has_a_gradient_in_weights_and_probabilities() -> None:
    model = routed_digits.make_model()
    (x, y), _, _ = routed_digits.read_data()
    rows, digits = torch.from_numpy(x[:16]), torch.from_numpy(y[:16])
    with training.sampled(model) as sampling:
        for _ in range(2):  # the first loss begins the baseline
            model.zero_grad()
            routed_digits.loss_of(model, sampling, rows, digits).backward()
    weights, logits = routed_digits.groups_of(model)
    assert len(logits["params"]) == routed_digits.LAYERS
    for parameter in [*weights["params"], *logits["params"]]:
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
    assert len(weights["params"]) + len(logits["params"]) == len(list(model.parameters()))
