"""Masked language modelling: tokens that are hidden in prose from docstrings, by a routed transformer encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.text import LENGTH, VOCABULARY, Corpus, read

WIDTH, HEADS, LAYERS = 64, 4, 4
HIDDEN = 6  # places of a row whose token is to be told


class Layer(nn.Module):
    """Attention of four heads and two linear layers, each behind a layer norm and added to what comes in.

    Scores have a learned term for each distance of two places (Raffel et al. 2020); in the beginning each head looks
    at one neighbour, as a model this small takes long to find out that neighbours matter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.asked, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.far = nn.Parameter(neighbours())

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns float32 [N, T, C]."""
        parts = self.asked(self.before(hidden)).unflatten(-1, (3, HEADS, WIDTH // HEADS))  # [N, T, 3, H, D]
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [N, H, T, D]
        scores = query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
        places = torch.arange(LENGTH)
        weights = torch.softmax(scores + self.far[:, places - places.unsqueeze(1) + LENGTH - 1], -1)
        hidden = hidden + self.out((weights @ value).transpose(1, 2).flatten(2))
        result: Tensor = hidden + self.wide(self.between(hidden))
        return result


def neighbours() -> Tensor:
    """Returns scores by distance, float32 [HEADS, 2 LENGTH - 1], of heads that look one or two places back or ahead."""
    found = torch.zeros(HEADS, 2 * LENGTH - 1)
    for head, distance in zip(found, (-1, 1, -2, 2), strict=True):
        head[LENGTH - 1 + distance] = 4.0
    return found


class Masked(nn.Module):
    """Tokens int64 [N, LENGTH] and places int64 [N, M] to the logits of what stands there, float32 [N, M, VOCABULARY].

    What is at the places is not looked at.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.mask = nn.Parameter(torch.randn(WIDTH))
        self.layers = nn.Sequential(*(Layer() for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor, places: Tensor) -> dict[str, Tensor]:
        """Returns the logits."""
        hidden_here = (places.unsqueeze(-1) == torch.arange(LENGTH)).any(1).unsqueeze(-1)  # [N, T, 1]
        hidden = torch.where(hidden_here, self.mask, self.tokens(tokens))
        asked = self.layers(hidden).gather(1, places.unsqueeze(-1).expand(-1, -1, WIDTH))
        return {"logits": self.head(self.norm(asked))}


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many layers."""
    torch.manual_seed(0)
    return Masked(layers)


def choose(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns places to hide, int64 [count, HIDDEN]: all different in a row, in their order."""
    return np.sort(rng.random((count, LENGTH)).argsort(1)[:, :HIDDEN], 1)


def score(outputs: Inputs, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns for each row the share of hidden places at which the likeliest token is the right one."""
    right: NDArray[np.float64] = (outputs["logits"].argmax(-1) == target).mean(-1)
    return right


def fill(corpus: Corpus, run: Callable[[Inputs], Inputs], tokens: NDArray[np.int64], places: NDArray[np.int64]) -> str:
    """Returns one row as text, each hidden token as [what the model tells], with what stood there where it is wrong."""
    told = run({"tokens": tokens[None], "places": places[None]})["logits"][0].argmax(-1)
    written, last = "", 0
    for place, token in zip(places, told, strict=True):
        was, found = corpus.text([tokens[place]]), corpus.text([token])
        written += corpus.text(tokens[last:place])
        written += f"[{found}]" if found == was else f"[{found}, not {was}]"
        last = int(place) + 1
    return (written + corpus.text(tokens[last:])).strip()


def task() -> Task:
    """Returns the task: rows of 32 tokens of which 6 are hidden; 500 test and 200 choose paths."""
    corpus = read()
    training = corpus.rows["training"][:, :-1]

    def draw(rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor]:
        rows, places = training[rng.integers(0, len(training), 32)], choose(32, rng)
        wanted = np.take_along_axis(rows, places, 1)
        return {"tokens": torch.from_numpy(rows), "places": torch.from_numpy(places)}, torch.from_numpy(wanted)

    def batches(part: str) -> list[Batch]:
        rows = corpus.rows[part][:, :-1].copy()
        places = choose(len(rows), np.random.default_rng(3))
        wanted, parts = np.take_along_axis(rows, places, 1), [slice(i, i + 50) for i in range(0, len(rows), 50)]
        return [({"tokens": rows[part], "places": places[part]}, wanted[part]) for part in parts]

    return Task(
        name="masked",
        title="masked language modelling",
        data=f"{corpus}; {HIDDEN} tokens of each are hidden",
        metric="accuracy of hidden tokens",
        layers=LAYERS,
        build=build,
        pattern="layers.*",
        draw=draw,
        loss=lambda outputs, target: F.cross_entropy(outputs["logits"].flatten(0, 1), target.flatten()),
        compared=lambda outputs: outputs["logits"],
        validation=batches("validation"),
        test=batches("test"),
        score=score,
        axes={"tokens": {0: "batch"}, "places": {0: "batch"}},
        steps=5000,
        quick=20,
        rate=3e-3,
        said=lambda run: fill(corpus, run, corpus.rows["test"][1, :-1], choose(2, np.random.default_rng(3))[1]),
    )
