"""What the three loops share: a small routed model, data, a loss of plain functions, and the way to a menu."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich import print
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import rr_export as rr
from rr_export import training
from rr_runtime import Session

LAYERS, WIDTH = 6, 64
EPOCHS, BATCH, RATE = 12, 64, 2e-3
LOGITS_RATE = 0.03  # probabilities move faster than weights
COSTS = [(0.0, 1 / LAYERS)] * LAYERS  # of skip and run: all layers cost 1
PRICE, CHANCE = 0.1, 0.02  # of the expected cost, and of the entropy, in the loss
Rows = tuple[NDArray[np.float32], NDArray[np.int64]]  # images [N, 64] in [0, 1], and which digits they are


class Block(nn.Module):
    """x + f(x), float32 [N, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + f(x)."""
        return x + self.f(x)


def make_model() -> nn.Sequential:
    """Returns the untrained model: six layers, each skipped or run with probabilities that are learned."""
    torch.manual_seed(0)
    layers = [rr.LayerChoice(Block(), policy=rr.Learned(2, (0.25, 0.75))) for _ in range(LAYERS)]
    model = nn.Sequential(nn.Linear(64, WIDTH), *layers, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))
    rr.plan_of(model)  # from now on a call of the model is a run
    return model


def read_data() -> tuple[Rows, Rows, Rows]:
    """Returns the rows for training, those that choose paths, and those for the test."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(x, y.astype(np.int64), test_size=450, random_state=0, stratify=y)
    x, x_chosen, y, y_chosen = train_test_split(x, y, test_size=250, random_state=0, stratify=y)
    return (x, y), (x_chosen, y_chosen), (x_test, y_test)


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    """Returns what an optimiser takes: the weights, and the logits of the probabilities, which have no weight decay."""
    named = list(model.named_parameters())
    logits = [parameter for name, parameter in named if name.endswith(".law.logits")]
    weights = [parameter for name, parameter in named if not name.endswith(".law.logits")]
    return [
        {"params": weights, "lr": RATE, "weight_decay": 0.01},
        {"params": logits, "lr": LOGITS_RATE, "weight_decay": 0.0},
    ]


def loss_of(model: nn.Module, sampling: training.Sampling, x: Tensor, y: Tensor) -> Tensor:
    """Returns the loss of one step; every part is a plain function that any loop can call.

    Args:
        model: the model, in a block ``with training.sampled(model) as sampling``.
        sampling: of that block.
        x: float32 [N, 64].
        y: int64 [N].
    """
    # The full path learns the digits; no layer, and a random path, learn what the full path says.
    paths = training.sandwich_paths(rr.plan_of(model), random=1)
    sandwich = training.sandwich_loss(model, paths, lambda: model(x), lambda output: F.cross_entropy(output, y))
    # Two random paths learn the digits, and should agree; the score function sends their loss into the probabilities.
    one, other = model(x), model(x)
    drawn = 0.5 * (F.cross_entropy(one, y) + F.cross_entropy(other, y)) + training.consistency(one, other)
    # Compute has a price, and some chance is to remain.
    law = training.live_law(model)
    return sandwich + sampling.surrogate(drawn) + PRICE * law.expected_cost(COSTS) - CHANCE * law.entropy()


def right(outputs: dict[str, NDArray[np.float32]], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns for every image whether the likeliest digit is the right one."""
    found: NDArray[np.bool_] = outputs["output"].argmax(1) == target
    return found


def finish(model: nn.Module, folder: Path, budgets: Sequence[float] = (0.3, 0.6, 1.0)) -> dict[float, float]:
    """Exports and proves the trained model, writes a menu, and returns the test accuracy at each budget."""
    _, chosen, (x_test, y_test) = read_data()
    model = model.cpu().eval()
    example = (torch.from_numpy(x_test[:4]),)
    bundle = rr.export(model, example, dynamic_shapes={"input": {0: "batch"}})
    print(rr.verify(bundle, model, example).table())
    bundle.save(folder, overwrite=True)
    front = rr.search(folder, [({"input": chosen[0]}, chosen[1])], right, bundle.costs("flops"))
    front.menu(bundle).save(folder, overwrite=True)

    # From here on torch is not needed: the file obeys a budget.
    session = Session(folder)
    table = Table("budget", "layers that run", "accuracy", title="one file at any share of its compute")
    found = {}
    for budget in budgets:
        result = session.run({"input": x_test}, budget=budget)
        found[budget] = float(right(result.outputs, y_test).mean())
        table.add_row(f"{budget:.0%}", str(np.flatnonzero(result.path == 1).tolist()), f"{found[budget]:.3f}")
    kept = ", ".join(f"{site.policy.table[0, 1]:.2f}" for site in bundle.plan.sites)
    print(f"P(run) that was learned, layer by layer: {kept}", table)
    return found
