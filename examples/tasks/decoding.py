"""Texts from a file that says how likely every next token is: the likeliest one each time, or a beam of several.

Only the file runs, whole, for every token; nothing here knows torch. What runs it keeps one path, so that a sentence is
written by one model.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from examples.tasks.subwords import BEGIN, END, PADDING
from examples.tasks.task import Inputs

Step = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""Of rows, int64 [M], and what is there for each, int64 [M, t], to log-probabilities of the next, float64 [M, V]."""


def steps_of(run: Callable[[Inputs], Inputs], source: NDArray[np.int64]) -> Step:
    """Returns the step of a model in a file.

    Args:
        run: of the inputs *source* and *target* to *logits*; to sample a path and keep it, it is given one seed:
            ``lambda inputs: session.run(inputs, seed=7).outputs``.
        source: int64 [N, S].
    """

    def step(rows: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float64]:
        logits = run({"source": source[rows], "target": prefixes})["logits"][:, -1].astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        found: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return found

    return step


def greedy(step: Step, count: int, *, longest: int) -> NDArray[np.int64]:
    """Returns the likeliest token each time, int64 [count, longest], filled up with 0 after the end.

    Args:
        step: of the model.
        count: how many rows.
        longest: tokens of a row, its end among them.
    """
    written = np.full((count, 1 + longest), PADDING, np.int64)
    written[:, 0] = BEGIN
    rows = np.arange(count)
    for place in range(longest):
        if not len(rows):
            break
        written[rows, place + 1] = step(rows, written[rows, : place + 1]).argmax(1)
        rows = rows[written[rows, place + 1] != END]
    return written[:, 1:]


def beam(step: Step, count: int, *, width: int, longest: int, penalty: float = 0.0) -> NDArray[np.int64]:
    """Returns the best that a beam of this width finds, int64 [count, longest], filled up with 0 after the end.

    Every token the likeliest extensions are kept. One that ends leaves the beam, which is narrower from then on
    (Sutskever, Vinyals, Le 2014), so a beam of width 1 writes what ``greedy`` does, and one as wide as there are texts
    finds the likeliest of all.

    Args:
        step: of the model.
        count: how many rows.
        width: of the beam, >= 1.
        longest: tokens of a row, its end among them.
        penalty: texts are compared by their log-probability over their number of tokens to this power.
    """
    written = np.full((count, width, 1 + longest), PADDING, np.int64)  # what is open, the likeliest first
    written[:, :, 0] = BEGIN
    worth = np.full((count, width), -np.inf)
    worth[:, 0] = 0.0
    free = np.full(count, width)  # places of the beam that no ended text has taken
    best = np.full(count, -np.inf)
    found = np.full((count, longest), PADDING, np.int64)
    for place in range(longest):
        rows, slots = np.nonzero(worth > -np.inf)
        if not len(rows):
            break
        said = step(rows, written[rows, slots, : place + 1])
        words = said.shape[1]
        extended = np.full((count, width, words), -np.inf)
        extended[rows, slots] = worth[rows, slots, None] + said
        for row in np.unique(rows):
            flat = extended[row].ravel()
            kept = np.argsort(-flat, kind="stable")[: free[row]]
            kept = kept[flat[kept] > -np.inf]
            texts = written[row, kept // words].copy()
            texts[:, place + 1] = kept % words
            over = (kept % words == END) | (place + 1 == longest)
            for text, value in zip(texts[over], flat[kept[over]], strict=True):
                if value / (place + 1) ** penalty > best[row]:
                    best[row], found[row] = value / (place + 1) ** penalty, text[1:]
            free[row] -= int(over.sum())
            open_ = int((~over).sum())
            written[row, :open_], worth[row] = texts[~over], -np.inf
            worth[row, :open_] = flat[kept[~over]]
    return found
