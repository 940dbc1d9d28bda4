"""Causal language modelling: the next token of prose from docstrings, by a stack of LSTM layers that are routed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.tasks.show import LESS
from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.text import END, VOCABULARY, Corpus, read

WIDTH, LAYERS = 64, 4
PROMPT = "Returns the"
WRITTEN = 40  # tokens of the example


class Layer(nn.Module):
    """An LSTM behind a layer norm, added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.lstm = nn.LayerNorm(WIDTH), nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns float32 [N, T, C]; what stands at a place depends on nothing after it."""
        result: Tensor = hidden + self.lstm(self.norm(hidden))[0]
        return result


class Language(nn.Module):
    """Tokens int64 [N, T] to the logits of the token after each, float32 [N, T, VOCABULARY]."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Returns the logits."""
        return {"logits": self.head(self.norm(self.layers(self.tokens(tokens))))}


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many layers."""
    torch.manual_seed(0)
    return Language(layers)


def score(outputs: Inputs, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns for each row the share of places at which the likeliest next token is the right one."""
    right: NDArray[np.float64] = (outputs["logits"].argmax(-1) == target).mean(-1)
    return right


def nats(logits: NDArray[np.float32], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns -log p(token) of every place, float64 [N, T]."""
    exact = logits.astype(np.float64)
    most = exact.max(-1, keepdims=True)
    total = most[..., 0] + np.log(np.exp(exact - most).sum(-1))
    spent: NDArray[np.float64] = total - np.take_along_axis(exact, target[..., None], -1)[..., 0]
    return spent


def write(corpus: Corpus, run: Callable[[Inputs], Inputs], prompt: str = PROMPT, count: int = WRITTEN) -> str:
    """Returns the prompt and what a model writes after it: always the likeliest token, until a paragraph ends."""
    tokens = corpus.tokenizer.encode(prompt).ids
    for _ in range(count):
        following = int(run({"tokens": np.array([tokens], np.int64)})["logits"][0, -1].argmax())
        if following == corpus.tokenizer.token_to_id(END):
            break
        tokens.append(following)
    return corpus.text(tokens).strip()


def task() -> Task:
    """Returns the task: rows of 32 tokens, of which 500 test and 200 choose paths."""
    corpus = read()
    training = corpus.rows["training"]

    def draw(rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor]:
        rows = torch.from_numpy(training[rng.integers(0, len(training), 32)])
        return {"tokens": rows[:, :-1]}, rows[:, 1:]

    def batches(part: str) -> list[Batch]:
        rows = corpus.rows[part]
        return [({"tokens": rows[i : i + 50, :-1].copy()}, rows[i : i + 50, 1:]) for i in range(0, len(rows), 50)]

    test = batches("test")
    characters = sum(len(corpus.text(row)) for _, target in test for row in target)

    def decoded(run: Callable[[Inputs], Inputs], asked: Batch) -> dict[str, float]:
        spent = np.concatenate([nats(run(inputs)["logits"], target) for inputs, target in test])
        return {
            f"perplexity {LESS}": math.exp(float(spent.mean())),
            f"bits a character {LESS}": float(spent.sum()) / math.log(2) / characters,
        }

    return Task(
        name="language",
        title="causal language modelling",
        data=str(corpus),
        metric="accuracy of the next token",
        layers=LAYERS,
        build=build,
        pattern="layers.*",
        draw=draw,
        loss=lambda outputs, target: F.cross_entropy(outputs["logits"].flatten(0, 1), target.flatten()),
        compared=lambda outputs: outputs["logits"],
        validation=batches("validation"),
        test=test,
        score=score,
        axes={"tokens": {0: "batch", 1: "time"}},
        steps=8000,
        quick=20,
        rate=4e-3,
        decoded=decoded,
        said=lambda run: write(corpus, run),
    )
