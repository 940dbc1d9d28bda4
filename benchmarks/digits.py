"""Handwritten digits, inputs unlike them, and small models of both kinds: routed, and with dropout."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr

EXAMPLE = Path(__file__).parents[1] / "examples" / "markov_chain.py"
PIXELS, CLASSES, WIDTH, SITES, KEEP = 64, 10, 64, 8, 0.8

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Digits:
    """Images of 8 by 8 pixels in [0, 1], float32 [N, 64], and which digits they are, int64 [N]."""

    x_train: Floats
    y_train: NDArray[np.int64]
    x_test: Floats
    y_test: NDArray[np.int64]

    def unlike(self, seed: int) -> Mapping[str, Floats]:
        """Returns inputs unlike the training data, as many as there are test images."""
        square = self.x_test.reshape(-1, 8, 8)
        noise = np.random.default_rng(seed).uniform(size=self.x_test.shape).astype(np.float32)
        turned = np.rot90(square, axes=(1, 2)).reshape(-1, PIXELS)
        return {"turned by 90 degrees": np.ascontiguousarray(turned), "inverted": 1 - self.x_test, "noise": noise}


def digits(seed: int) -> Digits:
    """Returns scikit-learn's digits, three quarters of them to train with."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        (x / 16).astype(np.float32), y.astype(np.int64), test_size=0.25, random_state=seed
    )
    return Digits(x_train, y_train, x_test, y_test)


class Block(nn.Module):
    """x + f(x), both float32 [N, WIDTH]; with dropout p of what f adds."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.f(x)


def routed() -> nn.Sequential:
    """Returns an untrained network of 8 blocks, each of which runs with probability .8, else is skipped."""
    blocks = [rr.LayerChoice(Block(), KEEP) for _ in range(SITES)]
    model = nn.Sequential(nn.Linear(PIXELS, WIDTH), nn.ReLU(), *blocks, nn.Linear(WIDTH, CLASSES))
    rr.plan_of(model)
    return model


def with_dropout() -> nn.Sequential:
    """Returns the same network without routing, with dropout of .2 after each block's own layers."""
    blocks = [Block(1 - KEEP) for _ in range(SITES)]
    return nn.Sequential(nn.Linear(PIXELS, WIDTH), nn.ReLU(), *blocks, nn.Linear(WIDTH, CLASSES))


def train(model: nn.Module, data: Digits, *, epochs: int) -> nn.Module:
    """Returns the model in evaluation mode; every batch takes a random path, or drops units.

    Adam, whose step falls from 2e-3 to 0 in a line.
    """
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    optimiser = torch.optim.Adam(model.train().parameters())
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - epoch / epochs)
        for rows in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model.eval()


def markov_example() -> ModuleType:
    """Returns examples/markov_chain.py as a module."""
    spec = importlib.util.spec_from_file_location("markov_chain_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
