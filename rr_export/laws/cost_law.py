"""The exact law of what a run costs, or one that is never below it by a stated bound."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.path_fold import Algebra, fold_paths
from rr_export.laws.plan import Plan
from rr_runtime.one_line import cut_to_line

MOST = 1 << 16  # values that a law may have; above that costs are rounded up
STEPS = 1 << 16  # to so many steps from the cheapest path to the dearest
LARGEST = 1 << 22  # pairs of values that are multiplied one by one
SAME = 1e-12  # of the dearest path: costs that lie nearer differ by the order of additions only
Atoms = tuple[NDArray[np.float64], NDArray[np.float64]]  # values, ascending, and their probabilities


@dataclass(frozen=True)
class CostLaw:
    """The law of a run's cost.

    Attributes:
        unit: the unit of the costs.
        values: the costs that a run can have, ascending, float64 [n].
        probabilities: theirs, float64 [n].
        bound: 0 where the values are exact; else the most by which they, and all percentiles, may be above the true
            ones. They are never below.
    """

    unit: str
    values: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    bound: float

    def percentile(self, percent: float) -> float:
        """Returns the least cost that a run stays at or below with at least this probability, in percent.

        Raises:
            ValueError: it is not above 0 and at most 100.
        """
        if not 0 < percent <= 100:
            raise ValueError(
                f"percentile: expected a number above 0 and at most 100, got {percent}; pass one such as 95"
            )
        below = np.cumsum(self.probabilities)
        return float(self.values[min(int(np.searchsorted(below, percent / 100 - 1e-12)), len(below) - 1)])

    @property
    def mean(self) -> float:
        """The mean of these values; ``Costs.expected`` has the exact one also where they are rounded."""
        return float(self.values @ self.probabilities)

    def __repr__(self) -> str:
        exact = "exact" if self.bound == 0 else f"at most {self.bound:.2g} too dear"
        low, high = self.values[0], self.values[-1]
        return cut_to_line(f"CostLaw({low:.4g} to {high:.4g} {self.unit}, {len(self.values)} values, {exact})")


class _TooManyError(Exception):
    """More values than MOST."""


def law_of_cost(
    plan: Plan, unit: str, base: float, branches: tuple[tuple[float, ...], ...], *, cheapest: float, dearest: float
) -> CostLaw:
    """Returns the law of ``base`` plus the branches of the path taken.

    Laws of parts that do not depend on each other are convolved, those of alternatives mixed. While there are few
    values, this is exact. Else every cost is rounded up to a multiple of a step, once for each site, so that no path
    is dearer by more than a step for each site that is reached on it.

    Args:
        plan: the sites.
        unit: the unit of the costs.
        base: what every run pays.
        branches: what every branch adds.
        cheapest: what the cheapest path costs.
        dearest: what the dearest path costs.
    """
    try:
        values, chances = _fold(plan, branches, near=SAME * dearest, most=MOST)
        bound = 0.0
    except _TooManyError:
        step = (dearest - cheapest) / STEPS
        steps = tuple(tuple(float(math.ceil(cost / step)) for cost in row) for row in branches)
        values, chances = _fold(plan, steps, near=0.5, most=None)
        reached = fold_paths(plan, Algebra(0, operator.add, max), lambda i, k: 1)
        values, bound = values * step, step * reached
    return CostLaw(unit, base + values, chances / chances.sum(), bound)


def _fold(plan: Plan, branches: tuple[tuple[float, ...], ...], *, near: float, most: int | None) -> Atoms:
    def merged(values: NDArray[np.float64], chances: NDArray[np.float64]) -> Atoms:
        some = chances > 0
        values, chances = values[some], chances[some]
        if not len(values):
            return values, chances
        order = np.argsort(values, kind="stable")
        values, chances = values[order], chances[order]
        ends = np.flatnonzero(np.append(np.diff(values) > near, True))  # the last, which is the dearest, of equals
        starts = np.append(0, ends[:-1] + 1)
        if most is not None and len(ends) > most:
            raise _TooManyError
        return values[ends], np.add.reduceat(chances, starts)

    def times(a: Atoms, b: Atoms) -> Atoms:
        if len(a[0]) * len(b[0]) > LARGEST:
            if most is not None:
                raise _TooManyError
            return _convolved(a, b)
        return merged(np.add.outer(a[0], b[0]).ravel(), np.multiply.outer(a[1], b[1]).ravel())

    def plus(parts: list[Atoms]) -> Atoms:
        return merged(np.concatenate([v for v, _ in parts]), np.concatenate([p for _, p in parts]))

    one = np.zeros(1), np.ones(1)
    tables = [site.policy.table for site in plan.sites]
    return fold_paths(
        plan,
        Algebra(one, times, plus),  # type: ignore[arg-type]
        lambda i, k: (np.array([branches[i][k]]), np.ones(1)),
        lambda i, row, k: merged(np.zeros(1), np.array([float(tables[i][row, k])])),
    )


def _convolved(a: Atoms, b: Atoms) -> Atoms:
    """The law of the sum of two numbers of steps, each with many values."""
    first, second = (np.bincount((values - values[0]).astype(np.int64), weights=chances) for values, chances in (a, b))
    chances = np.convolve(first.astype(np.float64), second.astype(np.float64))
    found = np.flatnonzero(chances)
    return a[0][0] + b[0][0] + found, chances[found]
