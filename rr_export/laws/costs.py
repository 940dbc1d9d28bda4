"""Costs of paths: what every run pays, and what each branch adds where its site is reached."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rr_export.laws.cost_law import CostLaw, law_of_cost
from rr_export.laws.measured_costs import read_bench
from rr_export.laws.path_circuit import PathCircuit, logs_of
from rr_export.laws.path_fold import Algebra, fold_paths
from rr_export.laws.plan import Plan
from rr_runtime.one_line import cut_to_line, list_few


@dataclass(frozen=True)
class Costs:
    """What runs cost: a number that every run pays, and one more for the branch taken at every reached site.

    A branch may cost less than nothing, as where it is told against another one. A path may not, and the
    dearest must cost something, else shares of it say nothing: every method that has a plan checks it.

    Attributes:
        unit: what is counted: "ms", "FLOPs", "parameters", "bytes", or a word of yours.
        base: what every run pays.
        branches: for every site, in site order, what each of its branches adds where the site is reached.

    Raises:
        ValueError: a number is not finite, or a site has none.
    """

    unit: str
    base: float
    branches: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        rows = tuple(_finite(row, f"costs: site {i}") for i, row in enumerate(self.branches))
        for i, row in enumerate(rows):
            if not row:
                raise ValueError(f"costs: site {i}: expected a number for every branch, got none; give one for each")
        object.__setattr__(self, "base", _finite([self.base], "costs: base")[0])
        object.__setattr__(self, "branches", rows)

    @classmethod
    def from_bench(
        cls, source: Mapping[str, Any] | str | os.PathLike[str], plan: Plan, *, form: str | None = None
    ) -> Costs:
        """Returns measured costs: what every run takes, in ms, and what every branch adds.

        They are fitted to the paths that were timed. That costs add up is a model, as branches share caches:
        ``rr-export bench`` tells how far it is right, on paths that it was not fitted to.

        Args:
            source: what ``rr-export bench --json`` wrote: the file, or what is in it.
            plan: the sites of the bundle that was measured.
            form: the name of one of the forms that were measured, such as "cpu"; None: the only one.

        Raises:
            ValueError: these are no such figures, or not of these sites, or of several forms of which none is named.
        """
        return cls("ms", *read_bench(source, plan, form))

    def of(self, path: ArrayLike) -> float:
        """Returns what a path costs, int [S], -1 where a site is not reached.

        Raises:
            ValueError: the path has another length, or a route that its site does not have.
        """
        routes = np.asarray(path)
        if routes.shape != (len(self.branches),) or (routes.size and routes.dtype.kind not in "iu"):
            raise ValueError(
                f"path: expected {len(self.branches)} integers, one per site, got {routes.dtype} of shape "
                f"{routes.shape}; give a path as a run reports it"
            )
        total = self.base
        for i, (route, row) in enumerate(zip(routes.tolist(), self.branches, strict=True)):
            if not -1 <= route < len(row):
                raise ValueError(
                    f"path: expected -1 (not reached) or 0..{len(row) - 1} for site {i}, got {route}; mend that route"
                )
            total += row[route] if route >= 0 else 0.0
        return total

    def shares(self, plan: Plan, paths: Iterable[ArrayLike]) -> NDArray[np.float64]:
        """Returns what paths cost as shares of the dearest, float64 [N].

        Raises:
            ValueError: the costs are not of this plan, or a path does not fit.
        """
        dearest = self.dearest(plan)
        return np.array([self.of(path) / dearest for path in paths])

    def dearest(self, plan: Plan) -> float:
        """Returns what the dearest path costs, exactly; paths of probability 0 count, as they can be forced.

        Raises:
            ValueError: the costs are not of this plan (see check).
        """
        self.check(plan)
        return self._extreme(plan, max)

    def cheapest(self, plan: Plan) -> float:
        """Returns what the cheapest path costs, exactly; paths of probability 0 count, as they can be forced.

        Raises:
            ValueError: the costs are not of this plan (see check).
        """
        self.check(plan)
        return self._extreme(plan, min)

    def expected(self, plan: Plan) -> float:
        """Returns what a run costs on average under the plan's law, exactly: each branch by P(reached and taken).

        Raises:
            ValueError: the costs are not of this plan (see check).
        """
        self.check(plan)
        return self.expected_by(PathCircuit(plan).weigh(logs_of(plan)).branches)

    def expected_by(self, taken: Sequence[NDArray[np.float64]]) -> float:
        """Returns the average for given probabilities, for every site float64 [K], that it is reached and takes it."""
        return self.base + math.fsum(float(p @ row) for p, row in zip(taken, self.branches, strict=True))

    def law(self, plan: Plan) -> CostLaw:
        """Returns the law of what a run costs, with its percentiles; where it is not exact, it says by how much.

        Raises:
            ValueError: the costs are not of this plan (see check).
        """
        self.check(plan)
        low, high = self._extreme(plan, min), self._extreme(plan, max)
        return law_of_cost(plan, self.unit, self.base, self.branches, cheapest=low, dearest=high)

    def check(self, plan: Plan) -> None:
        """These are costs of the plan's paths, none of them below 0 and the dearest above it.

        Raises:
            ValueError: there is not one number for every branch of every site, or the paths' costs are none.
        """
        found, wanted = [len(row) for row in self.branches], [len(site.branches) for site in plan.sites]
        if found != wanted:
            raise ValueError(
                f"costs: expected numbers for sites of {list_few(wanted)} branches, got {list_few(found)}; take the "
                "costs of this plan"
            )
        low, high = self._extreme(plan, min), self._extreme(plan, max)
        if low < 0 or high == 0:
            raise ValueError(
                f"costs: expected paths of 0 {self.unit} or more, the dearest of more, got {low:.4g} to {high:.4g}; "
                "raise the base, or measure again"
            )

    def _extreme(self, plan: Plan, best: Callable[[Sequence[float]], float]) -> float:
        return self.base + fold_paths(plan, Algebra(0.0, operator.add, best), lambda i, k: self.branches[i][k])

    def __repr__(self) -> str:
        rows = list_few(f"[{list_few(f'{number:.4g}' for number in row)}]" for row in self.branches)
        return cut_to_line(f"Costs({self.base:.4g} {self.unit} + {rows})")


def _finite(numbers: Sequence[float], where: str) -> tuple[float, ...]:
    found = tuple(float(number) for number in numbers)
    for number in found:
        if not math.isfinite(number):
            raise ValueError(f"{where}: expected finite numbers, got {number}; mend it")
    return found
