"""What a task is: real data, a model of so many layers, a loss, and a score of which more is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Inputs = Mapping[str, NDArray[Any]]
Batch = tuple[dict[str, NDArray[Any]], Any]  # inputs by name, target


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: of its module.
        title: what it is.
        data: where its data come from, and how many there are.
        metric: what the score is, in words.
        layers: how many layers the full model has.
        build: from a number of layers to an untrained model that takes the inputs by name; the same seed gives the
            same model.
        pattern: the layers, for ``rr.route_layers``; several where they are at several places.
        draw: from a source of random numbers to a batch of training: inputs as tensors, and the target.
        loss: from the outputs of the model and the target to a number, averaged over the batch.
        compared: from the outputs of the model to logits, float [..., classes], by which a path is taught by the full
            one.
        validation: batches on which paths are chosen.
        test: batches on which everything is scored.
        score: from outputs by name and the target to one number for each row.
        axes: the dynamic axes of every input, as ``rr.export`` takes them.
        steps: of training, of every model.
        quick: steps of a shortened run.
        rate: the learning rate.
        skip: as for ``rr.route_layers``.
        decoded: from what runs the model (inputs to outputs) and rows of the test to figures of whole answers, such as
            BLEU of greedy decoding; None: the score says all.
        answered: to how many rows of the test whole answers are given.
        told: the same figures of what needs no model, by its name, such as the first sentence as a summary.
        said: from what runs the model to one example of what it gives, as text; None: the score says all.
    """

    name: str
    title: str
    data: str
    metric: str
    layers: int
    build: Callable[[int], nn.Module]
    pattern: str | tuple[str, ...]
    draw: Callable[[np.random.Generator], tuple[dict[str, Tensor], Any]]
    loss: Callable[[Any, Any], Tensor]
    compared: Callable[[Any], Tensor]
    validation: Sequence[Batch]
    test: Sequence[Batch]
    score: Callable[[Inputs, Any], NDArray[np.float64]]
    axes: Mapping[str, Mapping[int, str]]
    steps: int
    quick: int
    rate: float = 1e-3
    skip: Any = None
    decoded: Callable[[Callable[[Inputs], Inputs], Batch], dict[str, float]] | None = None
    answered: int = 200
    told: Callable[[Batch], dict[str, dict[str, float]]] | None = None
    said: Callable[[Callable[[Inputs], Inputs]], str] | None = None

    def example(self) -> dict[str, Tensor]:
        """Returns the inputs of the first two rows of the first test batch, as tensors."""
        return {name: torch.from_numpy(array[:2].copy()) for name, array in self.test[0][0].items()}

    def asked(self) -> Batch:
        """Returns the rows to which whole answers are given: the first of the test."""
        whole = {name: np.concatenate([inputs[name] for inputs, _ in self.test]) for name in self.test[0][0]}
        target = np.concatenate([target for _, target in self.test])
        return {name: rows[: self.answered] for name, rows in whole.items()}, target[: self.answered]
