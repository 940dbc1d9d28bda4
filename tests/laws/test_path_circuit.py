"""What all paths weigh, and how means change with every entry, against sums path by path."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import rr_export as rr
from rr_export.laws.path_circuit import PathCircuit, Tables, logs_of
from rr_export.laws.tilt import divergence_slopes
from tests.laws.random_plans import KINDS, random_costs, random_plan
from tests.laws.test_plan import latent, reported_law


@pytest.mark.parametrize("kind", KINDS)
def test_branches_weigh_what_their_paths_do(kind: str) -> None:
    rng = np.random.default_rng(1)
    plan = random_plan(kind, rng)
    costs = random_costs(plan, rng)
    weighed = PathCircuit(plan).weigh(logs_of(plan), [[-cost for cost in row] for row in costs.branches])
    weights = {path: p * np.exp(costs.base - costs.of(path)) for path, p in reported_law(plan).items()}
    total = sum(weights.values())
    assert np.exp(weighed.log_total) == pytest.approx(total, rel=1e-12)
    for i, site in enumerate(plan.sites):
        for k in range(len(site.branches)):
            share = sum(w for path, w in weights.items() if path[i] == k) / total
            assert weighed.branches[i][k] == pytest.approx(share, abs=1e-12)


def test_entries_that_no_path_can_use_weigh_nothing() -> None:
    plan = rr.Plan([rr.Site("a", ("skip", "run"), rr.Categorical([0.0, 1.0]))])
    weighed = PathCircuit(plan).weigh(logs_of(plan))
    assert weighed.log_total == 0.0 and weighed.entries[0].tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_those_of_small_steps(kind: str) -> None:
    """Along every direction in which rows keep their sums."""
    rng = np.random.default_rng(2)
    plan = random_plan(kind, rng)
    circuit = PathCircuit(plan)
    tables = [site.policy.table for site in random_plan(kind, np.random.default_rng(2)).sites]
    tables = [0.7 * table + 0.3 * np.roll(table, 1, axis=1) for table in tables]
    _, slopes = divergence_slopes(circuit, tables)
    for i, table in enumerate(tables):
        for row in range(len(table)):
            step = np.zeros_like(table)
            step[row, :2] = [1e-6, -1e-6]
            ends = [_moved(tables, i, sign * step) for sign in (1, -1)]
            ahead, back = (divergence_slopes(circuit, end)[0] for end in ends)
            assert (slopes[i] * step).sum() == pytest.approx((ahead - back) / 2, rel=1e-4, abs=1e-13)


def _moved(tables: Tables, i: int, step: NDArray[np.float64]) -> Tables:
    return [table + step if j == i else table for j, table in enumerate(tables)]


def test_latent_routes_of_a_chain_that_is_reached_in_parts_count() -> None:
    chain = rr.Markov([0.5, 0.5], [[[0.9, 0.1], [0.2, 0.8]]])
    sites = [rr.Site("a", ("x", "y"), chain.step(0)), rr.Site("b", ("x", "y"), chain.step(1), calls=(((0, 1),),))]
    plan = rr.Plan(sites)
    weighed = PathCircuit(plan).weigh(logs_of(plan))
    law = dict(latent(plan))
    assert weighed.entries[1].ravel().tolist() == pytest.approx([law[r] for r in [(0, 0), (0, 1), (1, 0), (1, 1)]])
    assert weighed.branches[1].tolist() == pytest.approx([law[1, 0], law[1, 1]])
