"""What a worker opens for a sweep, once: the models of the sweep before are let go first."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, TypeVar

Opened = TypeVar("Opened")


def open_once(open_: Callable[..., Opened]) -> Callable[..., Opened]:
    """Returns a function that keeps what it opened last.

    Unlike ``functools.lru_cache(1)`` it holds one thing at a time, not two while the next one is opened: joblib ends
    workers that grow by some hundred megabytes.
    """
    held: dict[tuple[Any, ...], Opened] = {}

    def opened(*asked: Any) -> Opened:
        if asked not in held:
            held.clear()
            gc.collect()  # models are in cycles
            held[asked] = open_(*asked)
        return held[asked]

    return opened
