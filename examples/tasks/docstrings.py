"""Text classification: which library a sentence of a docstring comes from, by a transformer whose layers are routed."""

from __future__ import annotations

import re
import zlib
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.tasks.task import Inputs, Task
from rr_export.demo.docstrings import documented, source_files

LIBRARIES = ("numpy", "scipy", "sklearn", "torch", "sympy", "networkx", "matplotlib", "transformers")
WORDS, LENGTH, WIDTH, LAYERS = 4096, 24, 64, 4
LARGE = 60_000  # bytes of a file that is left out, as reading it takes long
EACH = 900  # sentences of each library
PADDING = 0


class Encoder(nn.Module):
    """Words int64 [N, T] (0: none) to the logits of the libraries, float32 [N, 8]."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH, padding_idx=PADDING)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(LIBRARIES))

    def forward(self, words: Tensor) -> dict[str, Tensor]:
        """Returns the logits."""
        present = (words != PADDING).unsqueeze(-1).float()
        hidden = (self.words(words) + self.places) * present
        for layer in self.layers:
            hidden = layer(hidden, present)
        pooled = (self.norm(hidden) * present).sum(1) / present.sum(1).clamp(min=1)
        return {"logits": self.head(pooled)}


class Layer(nn.Module):
    """Attention and two linear layers, each behind a layer norm and added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, hidden: Tensor, present: Tensor) -> Tensor:
        """Returns float32 [N, T, C]; ``present``, float32 [N, T, 1], is 1 where there is a word."""
        normal = self.before(hidden)
        scores = self.query(normal) @ self.key(normal).transpose(1, 2) / WIDTH**0.5
        weights = torch.softmax(scores + (present.transpose(1, 2) - 1) * 1e4, -1)
        hidden = hidden + self.out(weights @ self.value(normal))
        result: Tensor = hidden + self.wide(self.between(hidden))
        return result


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many layers."""
    torch.manual_seed(0)
    return Encoder(layers)


def score(outputs: Inputs, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns for each sentence whether the likeliest library is the right one."""
    right: NDArray[np.float64] = (outputs["logits"].argmax(1) == target).astype(np.float64)
    return right


def sentences(library: str) -> list[str]:
    """Returns the first sentences of the docstrings of an installed library, each once, without its own name."""
    found: dict[str, None] = {}
    for file in source_files(library):
        if len(found) >= 2 * EACH:
            break
        if file.stat().st_size > LARGE:
            continue
        for item in documented(file):
            sentence = " ".join(item.docstring.split("\n\n")[0].split()).split(". ")[0]
            if 5 <= len(sentence.split()) <= LENGTH and sentence.isascii() and library not in sentence.lower():
                found.setdefault(sentence)
        if len(found) >= 2 * EACH:
            break
    rows = list(found)
    order = np.random.default_rng(zlib.crc32(library.encode())).permutation(len(rows))[:EACH]
    return [rows[i] for i in order]


def encode(sentence: str) -> list[int]:
    """Returns the words as numbers, each the hash of its letters, filled up with 0."""
    words = re.findall(r"[a-z]+|[^\sa-z]", sentence.lower())[:LENGTH]
    return [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words] + [PADDING] * (LENGTH - len(words))


@cache
def read() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns all sentences as words, int64 [N, T], and their libraries, int64 [N], in one random order."""
    rows = [(encode(text), k) for k, library in enumerate(LIBRARIES) for text in sentences(library)]
    order = np.random.default_rng(0).permutation(len(rows))
    x, y = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return x[order], y[order]


def task() -> Task:
    """Returns the task: 1,200 sentences test, 1,000 choose paths, the others train."""
    x, y = read()
    parts = {"test": slice(0, 1200), "validation": slice(1200, 2200), "training": slice(2200, None)}
    words, libraries = x[parts["training"]], y[parts["training"]]

    def draw(rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor]:
        rows = rng.integers(0, len(words), 64)
        kept = np.where(rng.random((64, LENGTH)) < 0.9, words[rows], PADDING)  # a tenth of the words is left out
        return {"words": torch.from_numpy(kept)}, torch.from_numpy(libraries[rows])

    return Task(
        name="docstrings",
        title="text classification",
        data=f"first sentences of docstrings of {len(LIBRARIES)} installed libraries: {len(words):,} for training, "
        "1,000 to choose paths, 1,200 for the test; the library is to be told",
        metric="accuracy",
        layers=LAYERS,
        build=build,
        pattern="layers.*",
        draw=draw,
        loss=lambda outputs, target: F.cross_entropy(outputs["logits"], target, label_smoothing=0.1),
        compared=lambda outputs: outputs["logits"],
        validation=[({"words": x[parts["validation"]]}, y[parts["validation"]])],
        test=[({"words": x[parts["test"]]}, y[parts["test"]])],
        score=score,
        axes={"words": {0: "batch"}},
        steps=2000,
        quick=20,
    )
