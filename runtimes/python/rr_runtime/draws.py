"""Seed to draws: the counter-based generator that every runtime and every exported graph shares."""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

SEEDS = 2**63  # seeds are 0 .. SEEDS - 1, what fits into an int64 and is not negative
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def draws(seed: int, sites: int) -> NDArray[np.float32]:
    """Returns the draws of a seed, float32 [S], in [0, 1): the same bit for bit on every machine.

    SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), used as a hash of a counter:
    `z = mix64(mix64(seed) + (site + 1) * 0x9E3779B97F4A7C15)`, modulo 2^64, and `draw = float32(z >> 40) * 2^-24`.
    So the draw of a site depends on the seed and the site's index only, not on how many sites there are.

    Args:
        seed: 0 <= seed < 2^63.
        sites: how many draws, S.

    Raises:
        TypeError: the seed is not an integer.
        ValueError: the seed or the number of sites is out of range.
    """
    start = np.array([check_seed(seed)], dtype=np.uint64)
    if sites < 0:
        raise ValueError(f"sites: expected a number >= 0, got {sites}; pass the number of sites")
    counter = np.arange(1, sites + 1, dtype=np.uint64) * GOLDEN_GAMMA
    return (_mix64(_mix64(start) + counter) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def fresh_seed() -> int:
    """Returns a seed from the operating system's entropy, uniform in [0, 2^63)."""
    return secrets.randbits(63)


def check_seed(seed: object) -> int:
    """Returns the seed as a Python int, 0 <= seed < 2^63.

    Raises:
        TypeError: it is not an integer (a bool is none).
        ValueError: it is out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed: expected an integer, got {type(seed).__name__} {seed!r}; pass 0 <= seed < 2**63")
    value = int(seed)
    if not 0 <= value < SEEDS:
        raise ValueError(f"seed: expected 0 <= seed < 2**63, got {value}; pass one in that range, or none")
    return value


def _mix64(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns SplitMix64's finaliser of each number, modulo 2^64 (arrays wrap around silently)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
