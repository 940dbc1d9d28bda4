"""Trained models of a task, whose weights are kept: what is measured can be measured again without training."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from examples.tasks.rivals import route_quietly
from examples.tasks.task import Task
from examples.tasks.training import KEEP, Progress, train_plain, train_routed


class MissingWeightsError(Exception):
    """There are no weights of that training."""


def static(task: Task, layers: int, steps: int, folder: Path, tell: Progress, *, trained: bool) -> nn.Module:
    """Returns the trained model of so many layers, without routing; its weights are in the folder.

    Args:
        task: the task.
        layers: how many layers the model has.
        steps: of training.
        folder: where weights are kept.
        tell: told (done, total) while it trains.
        trained: nothing is trained, the weights of the folder are taken.

    Raises:
        MissingWeightsError: ``trained``, and the folder has no weights, or those of another training.
    """
    model, file = task.build(layers), folder / f"static-{layers}.safetensors"
    if trained:
        return _load(model, file, task, steps)
    train_plain(task, model, steps, tell)
    return _save(model, file, task, steps)


def routed(task: Task, steps: int, folder: Path, tell: Progress, *, trained: bool) -> nn.Module:
    """Returns the trained model of all layers, routed; the arguments and errors are those of :func:`static`."""
    model, file = task.build(task.layers), folder / "routed.safetensors"
    route_quietly(task, model, KEEP)
    if trained:
        return _load(model, file, task, steps)
    train_routed(task, model, steps, tell)
    return _save(model, file, task, steps)


def _save(model: nn.Module, file: Path, task: Task, steps: int) -> nn.Module:
    save_model(model, str(file), {"task": task.name, "steps": str(steps)})
    return model


def _load(model: nn.Module, file: Path, task: Task, steps: int) -> nn.Module:
    wanted = {"task": task.name, "steps": str(steps)}
    found = None
    if file.is_file():
        with safe_open(str(file), "pt") as kept:
            found = {name: value for name, value in (kept.metadata() or {}).items() if name in wanted}
    if found != wanted:
        raise MissingWeightsError(
            f"{file.name}: expected weights of {steps} steps of {task.name}, got {found or 'no file'}; "
            f"run: python -m examples.tasks {task.name}"
        )
    load_model(model, str(file))
    return model.eval()
