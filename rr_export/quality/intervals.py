"""Intervals for the mean of a law from a sample of it, and what a sample says of the worst."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

Interval = tuple[float, float]


def bernstein_interval(sample: ArrayLike, bounds: Interval, confidence: float) -> Interval:
    """Returns an interval that holds the mean of the law with at least this confidence, whatever the law.

    Empirical Bernstein (Maurer, Pontil: Empirical Bernstein Bounds and Sample Variance Penalization, 2009, theorem 4),
    at half of the error on each side: ``sqrt(2 V ln(4 / error) / n) + 7 (b - a) ln(4 / error) / (3 (n - 1))`` around
    the mean of n numbers of variance V (divided by n - 1) in [a, b], cut at a and b.

    Args:
        sample: float [n], n >= 2, drawn independently.
        bounds: the least and the largest number that can be drawn, ``(a, b)``.
        confidence: in (0, 1).
    """
    numbers, (least, most) = np.asarray(sample, np.float64), bounds
    count, log = len(numbers), math.log(4 / (1 - confidence))
    width = math.sqrt(2 * numbers.var(ddof=1) * log / count) + 7 * (most - least) * log / (3 * (count - 1))
    mean = float(numbers.mean())
    return max(least, mean - width), min(most, mean + width)


def student_interval(sample: ArrayLike, confidence: float) -> Interval:
    """Returns Student's interval for the mean: exact where the law is normal, else an approximation for large samples.

    Args:
        sample: float [n], n >= 2, drawn independently.
        confidence: in (0, 1).
    """
    from scipy.special import stdtrit

    numbers = np.asarray(sample, np.float64)
    width = float(stdtrit(len(numbers) - 1, (1 + confidence) / 2) * numbers.std(ddof=1) / math.sqrt(len(numbers)))
    mean = float(numbers.mean())
    return mean - width, mean + width


def below_least(count: int, confidence: float) -> float:
    """Returns the largest probability of drawing less than the least of a sample, at this confidence.

    Where it is p or more, n numbers drawn independently are all at least the least of them with probability at most
    ``(1 - p)^n``.
    """
    return float(1 - (1 - confidence) ** (1 / count))
