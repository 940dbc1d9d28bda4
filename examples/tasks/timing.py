"""Medians of interleaved runs, so that what else the machine does counts for all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 60


def medians(runs: Mapping[str, Callable[[], object]], *, rounds: int | None = None) -> dict[str, float]:
    """Returns the median of each in milliseconds: every round runs each once, in an order that turns."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for name in names:
        runs[name]()
    for number in range(ROUNDS if rounds is None else rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            start = time.perf_counter()
            runs[name]()
            spent[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(times) for name, times in spent.items()}
