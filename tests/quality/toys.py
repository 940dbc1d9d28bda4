"""A routed model whose output is a sum of numbers, one for each layer that runs: its front is known by arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

import rr_export as rr

WORTH = (0.9, -0.2, 0.4, 0.75, 0.1, 0.33, 0.62, 0.05, 0.81, 0.27, 0.5, 0.15)
COST = (3.0, 1.0, 1.5, 2.0, 0.5, 2.5, 1.25, 0.75, 4.0, 1.0, 1.75, 0.25)
BASE = 2.0
DATA = [({"x": np.full((2, 1), k, np.float32)}, np.full(2, k)) for k in (0, 1)]


class Added(nn.Module):
    """Adds a number, and some of what is there where layers interact."""

    def __init__(self, number: float, interaction: float) -> None:
        super().__init__()
        self.number, self.factor = number, 1.0 + interaction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.number


class Summed(nn.Module):
    """The sum over layers that run, each a site."""

    def __init__(self, worth: Sequence[float], interaction: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(rr.LayerChoice(Added(number, interaction), 0.7) for number in worth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 0.0
        for layer in self.layers:
            y = layer(y)
        return y + x


def toy(worth: Sequence[float] = WORTH, *, interaction: float = 0.0) -> nn.Module:
    return Summed(worth, interaction).eval()


def toy_bundle(worth: Sequence[float] = WORTH, *, interaction: float = 0.0) -> rr.Bundle:
    return rr.export(toy(worth, interaction=interaction), (torch.zeros(2, 1),))


def worth(outputs: Mapping[str, Any], target: Any) -> Any:
    """The sum of a row, without its input."""
    (y,) = outputs.values()
    return y[:, 0] - target


def toy_costs(cost: Sequence[float] = COST) -> rr.Costs:
    return rr.Costs("ms", BASE, tuple((0.0, number) for number in cost))


def known_front(sites: int = len(WORTH)) -> dict[tuple[int, ...], tuple[float, float]]:
    """Cost and quality of the paths of which none is both better and cheaper, by trying all pairs."""
    paths = np.array(list(itertools.product((0, 1), repeat=sites)))
    costs, values = BASE + paths @ np.array(COST[:sites]), paths @ np.array(WORTH[:sites])
    better = np.zeros(len(paths), bool)
    for i in range(len(paths)):
        as_good = (costs <= costs[i] + 1e-9) & (values >= values[i] - 1e-9)
        strictly = (costs < costs[i] - 1e-9) | (values > values[i] + 1e-9)
        better[i] = bool(np.any(as_good & strictly))
    kept = np.flatnonzero(~better)
    return {tuple(paths[i].tolist()): (float(costs[i]), float(values[i])) for i in kept}
