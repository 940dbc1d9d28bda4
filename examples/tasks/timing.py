"""Medians of interleaved runs, so that what else the machine does counts for all alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 60


def medians(runs: Mapping[str, Callable[[], object]], *, rounds: int | None = None) -> dict[str, float]:
    """Returns the median of each in milliseconds: every round runs each once, in a random order.

    In a fixed one each would always come after the same other one: on a busy machine a short run after a long one is
    interrupted more often than others.
    """
    order = random.Random(0)
    spent: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for name in names:
        runs[name]()
    for _ in range(ROUNDS if rounds is None else rounds):
        for name in order.sample(names, len(names)):
            start = time.perf_counter()
            runs[name]()
            spent[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(times) for name, times in spent.items()}
