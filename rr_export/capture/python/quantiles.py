"""The laws of numbers that are drawn from an interval, as functions of a number that is uniform in [0, 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Quantile:
    """A law on the real line.

    Attributes:
        share: from a number to the probability of a lesser one.
        number: from a probability inside (0, 1) to the number that such a share of draws is less than.
        bounded: whether all numbers lie in [0, 1).
    """

    share: Callable[[float], float]
    number: Callable[[float], float]
    bounded: bool = False


QUANTILES = {
    "uniform": Quantile(lambda x: min(max(x, 0.0), 1.0), lambda u: u, bounded=True),
    "normal": Quantile(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), NormalDist().inv_cdf),
    "exponential": Quantile(lambda x: -math.expm1(-x) if x > 0 else 0.0, lambda u: -math.log1p(-u)),
}
