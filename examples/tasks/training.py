"""Trains a model as it is, or with routed layers: the same optimiser, schedule, batches and number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

import rr_export as rr
from examples.tasks.task import Task
from rr_export import training

Progress = Callable[[int, int], None]
Path = tuple[int, ...]
KEEP = 0.75  # P(run) of every layer in the plan of a routed model


def train_plain(task: Task, model: nn.Module, steps: int, tell: Progress) -> None:
    """The model is trained on the task's loss, all layers in every step."""
    for batch, optimise in _steps(task, model, steps, tell):
        inputs, target = batch
        optimise(task.loss(model(**inputs), target))


def train_routed(task: Task, model: nn.Module, steps: int, tell: Progress) -> None:
    """The model is trained on every path: each step takes the full one, one of layers evenly apart, and a random one.

    That is the sandwich rule with in-place distillation: the full path learns from the target, the others half from it
    and half from what the full path gives.
    """
    layers, rng = len(rr.plan_of(model).sites), np.random.default_rng(1)
    nested = [nested_path(layers, count) for count in range(max(1, layers // 4), layers)]
    for (inputs, target), optimise in _steps(task, model, steps, tell):

        def distil(found: Any, full: Any, target: Any = target) -> torch.Tensor:
            taught = training.distillation(task.compared(found), task.compared(full))
            return 0.5 * task.loss(found, target) + 0.5 * taught

        paths = [(1,) * layers, nested[int(rng.integers(len(nested)))], random_path(layers, rng)]
        optimise(
            training.sandwich_loss(
                model,
                paths,
                lambda inputs=inputs: model(**inputs),
                lambda found, target=target: task.loss(found, target),
                distil=distil,
            )
        )


def nested_path(layers: int, count: int) -> list[int]:
    """Returns the path with so many layers that are evenly apart, the first and the last among them if there are two.

    These are the paths that a budget would take, so they are trained more than others.
    """
    kept = {round(i * (layers - 1) / max(1, count - 1)) for i in range(count)} if count > 1 else {0}
    return [int(i in kept) for i in range(layers)]


def random_path(layers: int, rng: np.random.Generator) -> Path:
    """Returns a random path; its number of layers is uniform from 1 to all."""
    kept = rng.permutation(layers)[: int(rng.integers(1, layers + 1))]
    return tuple(int(i in kept) for i in range(layers))


def _steps(
    task: Task, model: nn.Module, steps: int, tell: Progress
) -> Iterator[tuple[tuple[dict[str, Any], Any], Callable[[torch.Tensor], None]]]:
    """Yields batches, each with what a loss on it is given to; warms up for a twentieth, then falls as a cosine."""
    model.train()
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=task.rate, weight_decay=0.01)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    )

    def optimise(loss: torch.Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()

    for step in range(steps):
        tell(step, steps)
        yield task.draw(rng), optimise
    model.eval()
