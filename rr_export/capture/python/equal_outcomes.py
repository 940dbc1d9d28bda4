"""Outcomes of a draw that nobody can tell apart are one outcome: ``random.choice([1, 1, 2])`` has two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def merged(shares: Sequence[float], values: Sequence[Any]) -> tuple[tuple[float, ...], tuple[Any, ...]]:
    """Returns probabilities and outcomes, each outcome once, in the order in which they come."""
    found: dict[Any, tuple[float, Any]] = {}
    for share, value in zip(shares, values, strict=True):
        before, first = found.get(key_of(value), (0.0, value))
        found[key_of(value)] = before + share, first
    return tuple(share for share, _ in found.values()), tuple(value for _, value in found.values())


def key_of(value: Any) -> Any:
    """Returns what outcomes share that nobody can tell apart."""
    if type(value) is tuple:
        return tuple(map(key_of, value))
    plain = type(value) in (bool, int, float, str, bytes) or isinstance(value, np.generic)
    return (type(value), repr(value)) if plain else id(value)
