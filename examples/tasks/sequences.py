"""What tasks that write texts share: batches, loss, score, and the texts that a file writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from examples.tasks.decoding import Step, beam, greedy, steps_of
from examples.tasks.subwords import PADDING, Subwords
from examples.tasks.task import Batch, Inputs

Metric = Callable[[Sequence[str], Sequence[str]], float]  # of texts, and of those that were wanted
EACH = 250  # rows of a batch that is scored


def draw_from(rows: Batch, size: int) -> Callable[[np.random.Generator], tuple[dict[str, Tensor], Tensor]]:
    """Returns what draws batches of so many rows of about one length, cut to the longest source and target in them."""
    inputs, wanted = rows
    lengths = {name: (array != PADDING).sum(1) for name, array in inputs.items()}
    order = np.argsort(lengths["source"] + lengths["target"], kind="stable")

    def draw(rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor]:
        start = int(rng.integers(0, max(1, len(order) - 4 * size)))
        chosen = rng.choice(order[start : start + 4 * size], size)
        longest = {name: int(length[chosen].max()) for name, length in lengths.items()}
        given = {name: torch.from_numpy(array[chosen][:, : longest[name]]) for name, array in inputs.items()}
        return given, torch.from_numpy(wanted[chosen][:, : longest["target"]])

    return draw


def in_batches(rows: Batch, count: int) -> list[Batch]:
    """Returns the first rows, in batches."""
    inputs, wanted = rows
    parts = [slice(start, min(count, start + EACH)) for start in range(0, min(count, len(wanted)), EACH)]
    return [({name: array[part] for name, array in inputs.items()}, wanted[part]) for part in parts]


def loss(outputs: Any, wanted: Tensor) -> Tensor:
    """Returns the mean of -log P over the tokens that are to be said, with a tenth of it for all tokens alike."""
    logits = outputs["logits"].flatten(0, 1)
    return F.cross_entropy(logits, wanted.flatten(), ignore_index=PADDING, label_smoothing=0.1)


def compared(outputs: Any) -> Tensor:
    """Returns the logits; those of padding are alike in all paths."""
    logits: Tensor = outputs["logits"]
    return logits


def score(outputs: Inputs, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns for each row the share of its tokens that are the likeliest, given those before."""
    there = wanted != PADDING
    right = (outputs["logits"].argmax(2) == wanted) & there
    found: NDArray[np.float64] = right.sum(1) / there.sum(1)
    return found


@dataclass(frozen=True)
class Written:
    """The texts that a file writes for some rows.

    Attributes:
        run: runs the file, on one path.
        asked: the rows.
        subwords: what the tokens are.
    """

    run: Callable[[Inputs], Inputs]
    asked: Batch
    subwords: Subwords

    @property
    def wanted(self) -> list[str]:
        """The texts that were to be written."""
        return [self.subwords.text(row) for row in self.asked[1]]

    def greedy(self) -> list[str]:
        """Returns the texts of the likeliest token each time."""
        return self._texts(greedy(self._step, self._count, longest=self._longest))

    def beam(self, width: int, *, penalty: float) -> list[str]:
        """Returns the best texts that a beam finds."""
        return self._texts(beam(self._step, self._count, width=width, longest=self._longest, penalty=penalty))

    def figures(self, metrics: Mapping[str, Metric], *, width: int, penalty: float) -> dict[str, float]:
        """Returns each metric of the texts that are written greedily, and by a beam of some width."""
        ways = {"greedy": self.greedy(), f"beam {width}": self.beam(width, penalty=penalty)}
        return {
            f"{name}, {how}": metric(texts, self.wanted)
            for how, texts in ways.items()
            for name, metric in metrics.items()
        }

    @property
    def _step(self) -> Step:
        return steps_of(self.run, self.asked[0]["source"])

    @property
    def _count(self) -> int:
        return len(self.asked[1])

    @property
    def _longest(self) -> int:
        return int(self.asked[1].shape[1])

    def _texts(self, rows: NDArray[np.int64]) -> list[str]:
        return [self.subwords.text(row) for row in rows]
