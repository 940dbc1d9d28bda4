"""Seed to draws: the counter-based generator that every runtime and every exported graph shares."""

from __future__ import annotations

import functools
import os

import numpy as np
from numpy.typing import NDArray

SEEDS = 2**63  # seeds are 0 .. SEEDS - 1, what fits into an int64 and is not negative
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
FEW = 12  # draws of so many sites are faster in Python's integers than in numpy's, by up to 5 us
MASK = 2**64 - 1
S27, S30, S31, S40 = map(np.uint64, (27, 30, 31, 40))
M1, M2 = map(np.uint64, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
SCALE = np.float32(2.0**-24)


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
    number = check_seed(seed)
    if sites < 0:
        raise ValueError(f"sites: expected a number >= 0, got {sites}; pass the number of sites")
    return np.array(_few(number, sites), np.float32) if sites <= FEW else _many(number, sites)


def draws_as_floats(seed: int, sites: int) -> list[float]:
    """Returns the same draws as Python floats, which hold them exactly; seed and number of sites are right."""
    return _few(seed, sites) if sites <= FEW else _many(seed, sites).tolist()


def words(seed: int, count: int, *, start: int = 0) -> NDArray[np.uint64]:
    """Returns the words z(start), z(start + 1), ... of a seed, uint64 [count], all different; draws are their top bits.

    Args:
        seed: 0 <= seed < 2^63.
        count: how many.
        start: the index of the first one.
    """
    places = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    return _hashed(places * np.uint64(GOLDEN_GAMMA), seed)


def fresh_seed() -> int:
    """Returns a seed from the operating system's entropy, uniform in [0, 2^63).

    Every seed asks the system: numbers kept for later would be the same in processes that are copied meanwhile.
    """
    return int.from_bytes(os.urandom(8), "little") >> 1


def check_seed(seed: object) -> int:
    """Returns the seed as a Python int, 0 <= seed < 2^63.

    Raises:
        TypeError: it is not an integer (a bool is none).
        ValueError: it is out of range.
    """
    if type(seed) is int and 0 <= seed < SEEDS:
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed: expected an integer, got {type(seed).__name__} {seed!r}; pass 0 <= seed < 2**63")
    value = int(seed)
    if not 0 <= value < SEEDS:
        raise ValueError(f"seed: expected 0 <= seed < 2**63, got {value}; pass one in that range, or none")
    return value


def _few(seed: int, sites: int) -> list[float]:
    """Returns the draws of a seed, one by one."""
    key, found = _mix64(seed), []
    for i in range(1, sites + 1):
        z = key + i * GOLDEN_GAMMA & MASK  # _mix64, without a call
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        found.append(((z ^ z >> 31) >> 40) * 2.0**-24)
    return found


def _many(seed: int, sites: int) -> NDArray[np.float32]:
    """Returns the draws of a seed, float32 [S], all at once."""
    z = _hashed(_counter(sites), seed)
    z >>= S40
    scaled: NDArray[np.float32] = z.astype(np.float32) * SCALE
    return scaled


def _hashed(counter: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Returns the words of a seed at some places of the counter (arrays of uint64 wrap around silently)."""
    z: NDArray[np.uint64] = counter + np.uint64(_mix64(seed))
    z ^= z >> S30
    z *= M1
    z ^= z >> S27
    z *= M2
    z ^= z >> S31
    return z


@functools.lru_cache(maxsize=64)
def _counter(sites: int) -> NDArray[np.uint64]:
    """Returns `(i + 1) * GOLDEN_GAMMA` for every site i, uint64 [S]; not to be changed."""
    counter: NDArray[np.uint64] = np.arange(1, sites + 1, dtype=np.uint64) * np.uint64(GOLDEN_GAMMA)
    return counter


def _mix64(z: int) -> int:
    """Returns SplitMix64's finaliser of a number, modulo 2^64."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31
