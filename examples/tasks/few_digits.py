"""Handwritten digits for the studies: data, one way to train, and files that are proven or plain."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import rr_export as rr
from examples.tasks.rivals import Run, open_static
from examples.tasks.study import Tell

Loss = Callable[[Tensor, Tensor], Tensor]  # of a batch: images, digits


@dataclass(frozen=True)
class Split:
    """Images float32 [N, 64] in [0, 1], and which digits they are, int64 [N]."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def split(seed: int, rows: int) -> Split:
    """Returns scikit-learn's digits, so many of them to train with, the others to test."""
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(
        (x / 16).astype(np.float32), y.astype(np.int64), train_size=rows, random_state=seed, stratify=y
    )
    return Split(parts[0], parts[2], parts[1], parts[3])


def fit(model: nn.Module, data: Split, loss: Loss, steps: int, tell: Callable[[int, int], None], **groups: Any) -> None:
    """The model is trained: AdamW whose rate warms up for a twentieth and falls as a cosine; the same batches for all.

    Args:
        model: the model; it is in evaluation mode afterwards.
        data: to draw batches of 64 images from.
        loss: of a batch.
        steps: how many.
        tell: told (done, total).
        groups: ``logits``: parameters that learn forty times as fast, without weight decay, after the first third.
    """
    own = {id(parameter) for parameter in groups.get("logits", ())}
    weights = [parameter for parameter in model.parameters() if id(parameter) not in own]
    optimiser = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01)
    if own:
        optimiser.add_param_group({"params": list(groups["logits"]), "lr": 0.04, "weight_decay": 0.0})
    rng, rates = np.random.default_rng(0), [group["lr"] for group in optimiser.param_groups]
    model.train()
    for step in range(steps):
        tell(step, steps)
        share = min(1.0, (step + 1) / max(1, steps // 20)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for number, (group, rate) in enumerate(zip(optimiser.param_groups, rates, strict=True)):
            group["lr"] = rate * share if number == 0 or 3 * step >= steps else 0.0
        rows = rng.integers(0, len(data.x), 64)
        optimiser.zero_grad()
        loss(torch.from_numpy(data.x[rows]), torch.from_numpy(data.y[rows])).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    model.eval()


def with_softmax(model: nn.Module) -> nn.Module:
    """Returns the model with probabilities as its output, as ensembles average them."""
    return nn.Sequential(model, nn.Softmax(-1)).eval()


def save_routed(model: nn.Module, data: Split, folder: Path) -> tuple[rr.Bundle, tuple[Tensor]]:
    """The routed model is a bundle in the folder; returns the bundle and its example."""
    example = (torch.from_numpy(data.x_test[:4].copy()),)
    bundle = rr.export(model.eval(), example, dynamic_shapes={"input": {0: "batch"}})
    bundle.save(folder, overwrite=True)
    return bundle, example


def proven(
    bundle: rr.Bundle, model: nn.Module, args: tuple[Any, ...], tell: Tell, kwargs: Mapping[str, Any] | None = None
) -> str:
    """Returns what the proof of the bundle says, in a line."""
    report = rr.verify(bundle, model, args, kwargs, progress=tell, max_paths=64)
    return "; ".join(f"{check.name}: {'holds' if check.passed else 'not tried'}" for check in report.checks)


def save_plain(model: nn.Module, data: Split, file: Path) -> Run:
    """The model, which has no sites, is a file; returns what runs it."""
    with no_sites():
        bundle = rr.export(model, (torch.from_numpy(data.x_test[:4].copy()),), dynamic_shapes={"input": {0: "batch"}})
    return open_static(bundle.save(file, overwrite=True))


@contextlib.contextmanager
def no_sites() -> Iterator[None]:
    """A model without sites is exported without a warning: a rival has none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="export: expected a model with sites")
        yield
