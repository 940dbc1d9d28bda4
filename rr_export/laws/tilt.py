"""Laws that are tilted towards cheap paths, and how far they are from the law that they come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.costs import Costs
from rr_export.laws.path_circuit import PathCircuit, Tables, logs_of
from rr_export.laws.path_fold import Algebra, fold_paths
from rr_export.laws.plan import Plan

Rows = list[NDArray[np.float64]]  # for every site its table, float64 [J, K]
Used = tuple[float, tuple[tuple[int, int, int], ...]]  # a cost, and the entries (site, row, route) that a path uses
SURE = 1e-9  # nats: a law that is nearer than this to the nearest of all is that


@dataclass(frozen=True)
class Tilted:
    """A law that is tilted towards cheap paths.

    Attributes:
        tables: for every site its table, float64 [J, K].
        cost: its expected cost.
        divergence: the Kullback-Leibler divergence of its law of paths from the one that was tilted, in nats; of a
            chain whose sites are not all reached together, that of its latent routes, which is no smaller.
        nearest: whether no law of paths whatsoever, of the same expected cost, has a smaller one.
    """

    tables: Rows
    cost: float
    divergence: float
    nearest: bool


class Tilt:
    """Tilts the law of a plan: every path is made less probable by exp(-strength * its cost).

    The law of least divergence among all with an expected cost is of this form (Csiszar, I-Divergence Geometry of
    Probability Distributions and Minimization Problems, 1975). Where nested sites stand in a tree and the sites of a
    chain in one place, it has a policy for every site: that of a site carries what is inside of its branches, that of
    a step what comes after it. Elsewhere it makes sites depend on each other that do not; then every policy is
    given the probabilities that its branches have under the tilted law, which is no longer the nearest one.

    Args:
        plan: the law.
        costs: what its paths cost.
    """

    def __init__(self, plan: Plan, costs: Costs) -> None:
        self.plan, self.costs = plan, costs
        self.circuit = PathCircuit(plan)
        self._logs = logs_of(plan)

    def by(self, strength: float, tables: Tables | None = None) -> Tilted:
        """Returns the law that is tilted by a strength, per unit of cost.

        Args:
            strength: how much the logarithm of a path's probability falls with one unit of its cost.
            tables: another law over the same sites, which is tilted in place of the plan's.
        """
        logs = self._logs if tables is None else _logs(tables)
        weighed = self.circuit.weigh(logs, [[-strength * cost for cost in row] for row in self.costs.branches])
        before = [site.policy.table for site in self.plan.sites] if tables is None else tables
        rows = [_rows(used, kept) for used, kept in zip(weighed.entries, before, strict=True)]
        cost, divergence = self.judge(rows)
        least = -weighed.log_total - strength * (cost - self.costs.base)  # of all laws of paths of this cost
        sure = SURE * max(1.0, abs(weighed.log_total))
        return Tilted(rows, cost, divergence, nearest=tables is None and divergence - least <= sure)

    def judge(self, tables: Tables) -> tuple[float, float]:
        """Returns the expected cost of a law over the sites, and its divergence from the plan's."""
        weighed = self.circuit.weigh(_logs(tables))
        return self.costs.expected_by(weighed.branches), _divergence(weighed.entries, tables, self.plan)

    def cheapest(self) -> Tilted:
        """Returns the law of the cheapest path that the plan's law can take."""
        sites = self.plan.sites
        nothing: Used = (0.0, ())
        _, used = fold_paths(
            self.plan,
            Algebra(nothing, lambda a, b: (a[0] + b[0], a[1] + b[1]), min),
            lambda i, k: (self.costs.branches[i][k], ()),
            lambda i, row, k: (0.0 if sites[i].policy.table[row, k] > 0 else math.inf, ((i, row, k),)),
        )
        tables = [site.policy.table.copy() for site in sites]
        for i, row, k in used:
            tables[i][row] = np.arange(len(sites[i].branches)) == k
        return Tilted(tables, *self.judge(tables), nearest=False)


def divergence_slopes(circuit: PathCircuit, tables: Tables) -> tuple[float, Rows]:
    """Returns the divergence of a law from the circuit's plan, and its derivative for every entry."""
    terms = [_log_ratio(table, site.policy.table) for table, site in zip(tables, circuit.plan.sites, strict=True)]
    free = [[0.0] * len(site.branches) for site in circuit.plan.sites]
    mean, slopes, uses = circuit.mean_and_slopes(tables, terms, free)
    return mean, [slope + use for slope, use in zip(slopes, uses, strict=True)]  # a term changes with its entry


def _divergence(used: Sequence[NDArray[np.float64]], tables: Tables, plan: Plan) -> float:
    rows = zip(used, tables, plan.sites, strict=True)
    return math.fsum(float((use * _log_ratio(table, site.policy.table)).sum()) for use, table, site in rows)


def _log_ratio(table: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(q / p), 0 where q is 0."""
    some = table > 0
    return np.where(some, np.log(np.where(some, table, 1.0)) - np.log(np.where(some, before, 1.0)), 0.0)


def _rows(used: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every row divided by its sum; a row that is never used stays what it was."""
    total = used.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.where(total > 0, used / np.where(total > 0, total, 1.0), before)
    return found


def _logs(tables: Tables) -> Rows:
    with np.errstate(divide="ignore"):
        return [np.log(table) for table in tables]
