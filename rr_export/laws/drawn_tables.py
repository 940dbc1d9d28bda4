"""Tables of probabilities as draws hit them: the law that a file has, to the last draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.laws.policies import LEAST, Categorical, Markov, MarkovStep, Policy


def as_drawn(plan: Plan) -> Plan:
    """Returns the plan whose probabilities are those with which draws, multiples of 2^-24, take its branches."""
    tables = []
    for site in plan.sites:
        borders = np.pad(site.policy.thresholds.astype(np.float64), ((0, 0), (1, 1)), constant_values=(0.0, 1.0))
        tables.append(np.diff(np.ceil(borders / LEAST), axis=1) * LEAST)
    return with_tables(plan, tables)


def nearest_drawn(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the table in multiples of 2^-24 that is nearest, row by row; float32 thresholds lose nothing of it.

    Args:
        table: float64 [J, K], rows of numbers >= 0 that sum to 1; 0 stays 0.
    """
    parts = table / LEAST
    whole = np.floor(parts)
    for row, exact in zip(whole, parts, strict=True):
        left = round(1 / LEAST - row.sum())
        row[np.argsort(row - exact, kind="stable")[:left]] += 1  # those that have lost most
    found: NDArray[np.float64] = whole * LEAST
    return found


def with_tables(plan: Plan, tables: Sequence[NDArray[np.float64]]) -> Plan:
    """Returns the plan with these tables, float64 [J, K] for every site, in place of those of its policies."""
    policies: dict[str, Policy] = {}
    for chain in plan.chains:
        first = plan.sites[chain[0]]
        if not isinstance(first.policy, MarkovStep):
            policies[first.name] = Categorical(tables[chain[0]][0])
            continue
        law = Markov(tables[chain[0]][0], [tables[i] for _, i in pairwise(chain)])
        policies |= {plan.sites[i].name: law.step(t) for t, i in enumerate(chain)}
    return plan.with_policies(policies)
