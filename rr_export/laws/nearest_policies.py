"""The policies nearest to a plan's that keep a budget, where tilting alone does not give them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.path_circuit import Tables
from rr_export.laws.tilt import Rows, Tilt, Tilted, divergence_slopes

Masks = Sequence[NDArray[np.bool_]]  # for every site, which entries of its table are above 0
ROUNDS = 300  # of the search
SLACK = 1e-9  # of the width of the costs, by which a result of the search may miss the budget


def search_nearest(tilt: Tilt, limit: float, width: float, starts: Sequence[Tilted]) -> Tilted:
    """Returns the law of least divergence that was found: a local minimum among policies, or the best of the starts.

    Sequential quadratic programming (SLSQP; Kraft, A Software Package for Sequential Quadratic Programming, 1988)
    over the logarithms of the probabilities that are not 0, from every start.

    Args:
        tilt: the law, and what its paths cost.
        limit: what the law may cost on average.
        width: what the dearest path costs more than the cheapest.
        starts: laws to begin with, of which one at least keeps the budget.
    """
    from scipy.optimize import minimize  # half a second, and only here

    zeros = [np.zeros_like(site.policy.table) for site in tilt.plan.sites]
    some = [site.policy.table > 0 for site in tilt.plan.sites]

    def divergence(logits: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        tables = _tables(logits, some)
        mean, slopes = divergence_slopes(tilt.circuit, tables)
        return mean, _logit_slopes(tables, slopes, some)

    def room(logits: NDArray[np.float64]) -> float:
        mean, _, _ = tilt.circuit.mean_and_slopes(_tables(logits, some), zeros, tilt.costs.branches)
        return (limit - tilt.costs.base - mean) / width

    def room_slopes(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        tables = _tables(logits, some)
        _, slopes, _ = tilt.circuit.mean_and_slopes(tables, zeros, tilt.costs.branches)
        return -_logit_slopes(tables, slopes, some) / width

    found = [start for start in starts if start.cost <= limit]
    for start in starts:
        result = minimize(
            divergence,
            _logits(start.tables, some),
            jac=True,
            method="SLSQP",
            constraints={"type": "ineq", "fun": room, "jac": room_slopes},
            options={"maxiter": ROUNDS, "ftol": 1e-13},
        )
        tables = _tables(result.x, some)
        cost, far = tilt.judge(tables)
        if cost <= limit + SLACK * width:
            found.append(Tilted(tables, cost, far, nearest=False))
    return min(found, key=lambda law: law.divergence)


def _logits(tables: Tables, some: Masks) -> NDArray[np.float64]:
    parts = [np.log(np.maximum(table[where], 1e-9)) for table, where in zip(tables, some, strict=True)]
    return np.concatenate([*parts, np.zeros(0)])


def _tables(logits: NDArray[np.float64], some: Masks) -> Rows:
    tables, begin = [], 0
    for where in some:
        count = int(where.sum())
        table = np.full(where.shape, -np.inf)
        table[where] = logits[begin : begin + count]
        begin += count
        weights = np.exp(table - table.max(axis=1, keepdims=True))
        tables.append(weights / weights.sum(axis=1, keepdims=True))
    return tables


def _logit_slopes(tables: Rows, slopes: Rows, some: Masks) -> NDArray[np.float64]:
    """The derivatives for logits, of those for probabilities: of a softmax, row by row."""
    parts = []
    for table, slope, where in zip(tables, slopes, some, strict=True):
        inner = (table * slope).sum(axis=1, keepdims=True)
        parts.append((table * (slope - inner))[where])
    return np.concatenate([*parts, np.zeros(0)])
