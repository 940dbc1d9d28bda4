"""The law of cost, against sums over all latent routes straight from the tables."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rr_export as rr
from rr_export.laws import cost_law
from rr_export.laws.cost_law import CostLaw
from tests.laws.random_plans import KINDS, random_costs, random_plan
from tests.laws.test_plan import exact, plans, reported_law


def law_by_hand(plan: rr.Plan, costs: rr.Costs) -> dict[float, float]:
    """Returns the probability of every cost, rounded to nine digits."""
    law: dict[float, float] = defaultdict(float)
    for path, p in reported_law(plan).items():
        law[round(costs.base + sum(costs.branches[i][k] for i, k in enumerate(path) if k >= 0), 9)] += p
    return {cost: p for cost, p in law.items() if p > 0}


def differs(found: CostLaw, wanted: dict[float, float]) -> bool:
    """Tells whether a law is not the wanted one."""
    values = dict(zip(np.round(found.values, 9).tolist(), found.probabilities.tolist(), strict=True))
    return values.keys() != wanted.keys() or any(abs(values[v] - p) > 1e-12 for v, p in wanted.items())


@given(plans(), st.integers(0, 2**32), st.booleans())
@exact
def test_the_law_is_that_of_all_paths(plan: rr.Plan, seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = tuple(
        tuple(rng.integers(-2, 4, len(s.branches)).astype(float) + (0 if whole else rng.random())) for s in plan.sites
    )
    costs = rr.Costs("ms", 20.0, rows)
    wanted, found = law_by_hand(plan, costs), costs.law(plan)
    assert found.bound == 0 and not differs(found, wanted)
    mean = sum(v * p for v, p in wanted.items())
    assert costs.expected(plan) == pytest.approx(mean, rel=1e-9) == found.mean
    for percent in (5, 50, 95, 100):
        under = sum(p for v, p in wanted.items() if v <= found.percentile(percent) + 1e-9)
        below = sum(p for v, p in wanted.items() if v < found.percentile(percent) - 1e-9)
        assert under >= percent / 100 - 1e-9 and below < percent / 100 + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_each_branch_by_how_likely_it_is_taken(kind: str) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        plan = random_plan(kind, rng, sites=5)
        costs = random_costs(plan, rng)
        mean = costs.base + sum(
            cost * plan.probability_of_any([{**call, i: [k]} for call in _calls(plan, i)])
            for i, row in enumerate(costs.branches)
            for k, cost in enumerate(row)
        )
        assert costs.expected(plan) == pytest.approx(mean, rel=1e-12)


def _calls(plan: rr.Plan, i: int) -> list[dict[int, list[int]]]:
    return [{s: [r] for s, r in call} for call in plan.sites[i].calls]


def test_a_law_of_other_probabilities_is_another_one() -> None:
    plan = random_plan("tree", np.random.default_rng(0))
    costs = random_costs(plan, np.random.default_rng(1))
    wanted = law_by_hand(plan, costs)
    found = costs.law(plan)
    moved = np.roll(found.probabilities, 1)
    assert not differs(found, wanted)
    assert differs(CostLaw("ms", found.values, moved, 0.0), wanted)
    other = plan.with_policies({site.name: rr.Uniform(len(site.branches)) for site in plan.sites})
    assert differs(costs.law(other), wanted)


@pytest.mark.parametrize("kind", ["independent", "chain", "tree of chains", "any chains"])
def test_where_there_are_many_values_they_are_rounded_up_within_the_bound(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    plan = random_plan(kind, rng, sites=7)
    costs = random_costs(plan, rng)
    exact_law = costs.law(plan)
    monkeypatch.setattr(cost_law, "MOST", 10)
    monkeypatch.setattr(cost_law, "STEPS", 400)
    monkeypatch.setattr(cost_law, "LARGEST", 30)
    rounded = costs.law(plan)
    assert exact_law.bound == 0 < rounded.bound < 0.02 * costs.dearest(plan)
    assert rounded.probabilities.sum() == pytest.approx(1, abs=1e-12)
    for percent in np.linspace(0.5, 100, 200):
        above = rounded.percentile(percent) - exact_law.percentile(percent)
        assert -1e-9 <= above <= rounded.bound + 1e-9


def test_a_hundred_sites_have_a_law() -> None:
    rng = np.random.default_rng(4)
    chain = rr.Markov([0.3, 0.7], [[0.6, 0.4], [0.2, 0.8]])
    plan = rr.Plan([rr.Site(f"s{i}", ("skip", "run"), chain.step(i)) for i in range(100)])
    costs = rr.Costs("ms", 1.0, tuple((0.0, float(c)) for c in rng.random(100)))
    law = costs.law(plan)
    assert 0 < law.bound < 0.002 * costs.dearest(plan)
    assert 0 <= law.mean - costs.expected(plan) <= law.bound
    assert law.values[0] >= 1.0


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_what_is_no_percentile_is_refused(percent: float) -> None:
    law = CostLaw("ms", np.ones(1), np.ones(1), 0.0)
    with pytest.raises(ValueError, match=r"percentile: expected a number above 0 and at most 100, got"):
        law.percentile(percent)
