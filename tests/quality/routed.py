"""A small routed classifier with nesting and a chain, its data and a metric, for the tests of quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr

WIDTH, CLASSES = 4, 3


class Routed(nn.Module):
    """Four sites: a chain of two layers, an operation with a nested layer; 12 paths.

    Args:
        same: the name of the branch that does nothing.
    """

    def __init__(self, same: str = "same") -> None:
        super().__init__()
        chain = rr.Markov([0.3, 0.7], [[0.1, 0.9], [0.6, 0.4]])
        self.first = rr.LayerChoice(nn.Linear(WIDTH, WIDTH), policy=chain.step(0))
        self.second = rr.LayerChoice(nn.Linear(WIDTH, WIDTH), policy=chain.step(1))
        inner = nn.Sequential(nn.ReLU(), rr.LayerChoice(nn.Linear(WIDTH, WIDTH), 0.8))
        self.op = rr.OperationChoice({same: nn.Identity(), "deep": inner}, rr.Categorical([0.4, 0.6]))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.op(self.second(self.first(x))))
        return y


def routed() -> nn.Module:
    torch.manual_seed(0)
    return Routed().eval()


def batches() -> list[tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]]:
    """Three batches, the last one of fewer rows."""
    random = np.random.default_rng(0)
    return [
        ({"x": random.standard_normal((rows, WIDTH)).astype(np.float32)}, random.integers(0, CLASSES, rows))
        for rows in (8, 8, 3)
    ]


def margin(outputs: Mapping[str, Any], target: Any) -> Any:
    """The logit of the right class less the mean, for each row: differs from path to path."""
    (logits,) = outputs.values()
    return logits[np.arange(len(target)), target] - logits.mean(1)


def hits(outputs: Mapping[str, Any], target: Any) -> Any:
    """Whether the right class has the largest logit, for each row."""
    (logits,) = outputs.values()
    return logits.argmax(1) == target


def mean_margin(outputs: Mapping[str, Any], target: Any) -> float:
    """The same as one number."""
    return float(np.mean(margin(outputs, target)))


def macro_f1(outputs: list[Mapping[str, Any]], targets: list[Any]) -> float:
    """F1, the mean over classes: a metric of whole data sets."""
    found = np.concatenate([next(iter(o.values())).argmax(1) for o in outputs])
    right = np.concatenate(targets)
    scores = []
    for k in range(CLASSES):
        both = np.sum((found == k) & (right == k))
        scores.append(2 * both / max(1, np.sum(found == k) + np.sum(right == k)))
    return float(np.mean(scores))


macro_f1.whole = True  # type: ignore[attr-defined]


def eager_values(model: nn.Module) -> dict[tuple[int, ...], NDArray[np.float64]]:
    """The margin of every row on every path, by torch alone: the oracle."""
    inputs = torch.from_numpy(np.concatenate([inputs["x"] for inputs, _ in batches()]))
    target = torch.from_numpy(np.concatenate([target for _, target in batches()]))
    found = {}
    for path in rr.plan_of(model, (inputs,)).paths():
        with rr.forced(model, path), torch.no_grad():
            logits = model(inputs)
        found[path] = (logits.gather(1, target[:, None])[:, 0] - logits.mean(1)).double().numpy()
    return found
