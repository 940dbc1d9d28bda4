"""All paths of a plan as one circuit of sums and products, whose every part is weighed in two passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.path_fold import Algebra, fold_paths
from rr_export.laws.plan import Plan

Tables = Sequence[NDArray[np.float64]]  # for every site float64 [J, K], as the table of its policy


@dataclass(frozen=True)
class Weighed:
    """The weights of all paths of a plan, added up.

    Attributes:
        log_total: the logarithm of the sum of all weights.
        entries: for every site, for every entry of its table, the share of the weight that uses it, float64 [J, K].
        branches: for every site, for every branch, the share of the weight that takes it where the site is reached,
            float64 [K].
    """

    log_total: float
    entries: tuple[NDArray[np.float64], ...]
    branches: tuple[NDArray[np.float64], ...]


class PathCircuit:
    """The sum over all paths of the product of the entries and branches that a path uses.

    It is the network polynomial of Darwiche (A Differential Approach to Inference in Bayesian Networks, 2003): its
    value for given weights is their sum over paths, and its derivatives are what every single one contributes. Which
    entries a path uses is said at :func:`fold_paths`.

    Args:
        plan: the sites.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._nodes: list[tuple[bool, tuple[int, ...]]] = []  # (whether it is a product, the nodes that it is of)
        self._entries: dict[tuple[int, int, int], int] = {}
        self._branches: dict[tuple[int, int], int] = {}
        one = self._node(True, ())
        algebra = Algebra(one, lambda a, b: self._product(a, b, one), lambda parts: self._node(False, tuple(parts)))
        self._root = fold_paths(plan, algebra, self._branch, self._entry)

    def weigh(self, entries: Tables, branches: Sequence[Sequence[float]] | None = None) -> Weighed:
        """Returns the weights of all paths, added up.

        Args:
            entries: for every site the logarithms of the weights of its entries, -inf for 0.
            branches: for every site the logarithms of the weights of its branches; None: 0, which changes nothing.
        """
        logs = self._upwards(entries, branches)
        flows = [0.0] * len(self._nodes)
        flows[self._root] = 1.0
        for number in range(self._root, -1, -1):
            flow, (product, parts) = flows[number], self._nodes[number]
            if flow == 0.0:
                continue
            for part in parts:
                flows[part] += flow if product else flow * math.exp(logs[part] - logs[number])
        used = [np.zeros_like(site.policy.table) for site in self.plan.sites]
        taken = [np.zeros(len(site.branches)) for site in self.plan.sites]
        for (i, row, k), number in self._entries.items():
            used[i][row, k] = flows[number]
        for (i, k), number in self._branches.items():
            taken[i][k] = flows[number]
        return Weighed(logs[self._root], tuple(used), tuple(taken))

    def mean_and_slopes(
        self, entries: Tables, terms: Tables, branches: Sequence[Sequence[float]]
    ) -> tuple[float, list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Returns the mean over paths of a sum of terms; for every entry its derivative, and the entry's outside.

        The derivative holds the terms. The outside of an entry is the weight of all paths that use it, divided by it.

        The pair of a probability and a mean is the expectation semiring (Eisner, Parameter Estimation for
        Probabilistic Finite-State Transducers, 2002).

        Args:
            entries: for every site its entries: probabilities, those of a row summing to 1.
            terms: for every site what each of its entries adds where it is used.
            branches: for every site what each of its branches adds where the site is reached.
        """
        p, m = self._means(entries, terms, branches)
        dp, dm = [0.0] * len(p), [0.0] * len(p)
        dm[self._root] = 1.0
        for number in range(self._root, -1, -1):
            product, parts = self._nodes[number]
            if not parts:
                continue
            if not product:
                for part in parts:
                    dp[part] += dp[number]
                    dm[part] += dm[number]
                continue
            a, b = parts
            for one, other in ((a, b), (b, a)):
                dm[one] += dm[number] * p[other]
                dp[one] += dp[number] * p[other] + dm[number] * m[other]
        slopes, uses = ([np.zeros_like(table) for table in entries] for _ in range(2))
        for (i, row, k), number in self._entries.items():
            slopes[i][row, k] = dp[number] + dm[number] * terms[i][row, k]
            uses[i][row, k] = dm[number]
        return m[self._root], slopes, uses

    def _means(
        self, entries: Tables, terms: Tables, branches: Sequence[Sequence[float]]
    ) -> tuple[list[float], list[float]]:
        p, m = [1.0] * len(self._nodes), [0.0] * len(self._nodes)
        for (i, row, k), number in self._entries.items():
            p[number] = float(entries[i][row, k])
            m[number] = p[number] * float(terms[i][row, k])
        for (i, k), number in self._branches.items():
            m[number] = branches[i][k]
        for number, (product, parts) in enumerate(self._nodes):
            if parts and product:
                a, b = parts
                p[number], m[number] = p[a] * p[b], p[a] * m[b] + p[b] * m[a]
            elif parts:
                p[number], m[number] = sum(p[part] for part in parts), sum(m[part] for part in parts)
        return p, m

    def _upwards(self, entries: Tables, branches: Sequence[Sequence[float]] | None) -> list[float]:
        logs = [0.0] * len(self._nodes)
        for (i, row, k), number in self._entries.items():
            logs[number] = float(entries[i][row, k])
        for (i, k), number in self._branches.items() if branches is not None else ():
            logs[number] = float(branches[i][k])  # type: ignore[index]
        for number, (product, parts) in enumerate(self._nodes):
            if parts and product:
                logs[number] = sum(logs[part] for part in parts)
            elif parts:
                most = max(logs[part] for part in parts)
                total = sum(math.exp(logs[part] - most) for part in parts) if most > -math.inf else 0.0
                logs[number] = most + math.log(total) if total else -math.inf
        return logs

    def _node(self, product: bool, parts: tuple[int, ...]) -> int:
        self._nodes.append((product, parts))
        return len(self._nodes) - 1

    def _product(self, a: int, b: int, one: int) -> int:
        return b if a == one else a if b == one else self._node(True, (a, b))

    def _entry(self, site: int, row: int, route: int) -> int:
        key = (site, row, route)
        if key not in self._entries:
            self._entries[key] = self._node(True, ())
        return self._entries[key]

    def _branch(self, site: int, route: int) -> int:
        key = (site, route)
        if key not in self._branches:
            self._branches[key] = self._node(True, ())
        return self._branches[key]


def logs_of(plan: Plan) -> list[NDArray[np.float64]]:
    """Returns the logarithms of the tables of a plan's policies, -inf for 0."""
    with np.errstate(divide="ignore"):
        return [np.log(site.policy.table) for site in plan.sites]
