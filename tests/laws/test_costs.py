"""Costs of paths, against sums over all paths one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import rr_export as rr
from tests.laws.random_plans import KINDS, random_costs, random_plan


def by_hand(costs: rr.Costs, path: tuple[int, ...]) -> float:
    """Returns what a path costs, from its definition."""
    return costs.base + sum(costs.branches[i][k] for i, k in enumerate(path) if k >= 0)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_path_costs_the_base_and_its_branches(kind: str) -> None:
    rng = np.random.default_rng(1)
    plan = random_plan(kind, rng)
    costs = random_costs(plan, rng)
    for path in plan.paths():
        assert costs.of(path) == pytest.approx(by_hand(costs, path), rel=1e-12)


def test_the_extremes_are_those_of_all_paths(kind: str) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        plan = random_plan(kind, rng, sites=5)
        costs = random_costs(plan, rng)
        found = [by_hand(costs, path) for path in plan.paths()]
        assert costs.dearest(plan) == pytest.approx(max(found), rel=1e-12)
        assert costs.cheapest(plan) == pytest.approx(min(found), rel=1e-12)
        assert costs.shares(plan, plan.paths()) == pytest.approx(np.array(found) / max(found), rel=1e-12)


def test_a_route_that_encloses_nothing_dear_is_no_part_of_the_dearest_path() -> None:
    """What stands inside a branch is paid for with that branch alone."""
    outer = rr.Site("outer", ("skip", "run"), rr.Uniform(2))
    inner = rr.Site("inner", ("skip", "run"), rr.Uniform(2), calls=(((0, 1),),))
    costs = rr.Costs("ms", 1.0, ((5.0, 2.0), (0.0, 2.0)))
    assert costs.dearest(rr.Plan([outer, inner])) == 6.0  # not 1 + 5 + 2
    assert costs.cheapest(rr.Plan([outer, inner])) == 3.0


def test_routes_of_probability_0_count() -> None:
    plan = rr.Plan([rr.Site("a", ("skip", "run"), rr.Categorical([1.0, 0.0]))])
    assert rr.Costs("ms", 1.0, ((0.0, 3.0),)).dearest(plan) == 4.0


def test_many_sites_are_no_matter() -> None:
    plan = rr.Plan([rr.Site(f"s{i}", ("skip", "run"), rr.Uniform(2)) for i in range(600)])
    costs = rr.Costs("ms", 1.0, ((0.0, 2.0),) * 600)
    assert (costs.cheapest(plan), costs.dearest(plan)) == (1.0, 1201.0)


def test_negative_branches_are_costs_and_negative_paths_are_none() -> None:
    plan = rr.Plan([rr.Site("a", ("skip", "run"), rr.Uniform(2))])
    assert rr.Costs("ms", 3.0, ((-2.0, 0.0),)).cheapest(plan) == 1.0
    with pytest.raises(
        ValueError, match=r"costs: expected paths of 0 ms or more, the dearest of more, got -1 to 1; raise"
    ):
        rr.Costs("ms", 1.0, ((-2.0, 0.0),)).dearest(plan)


@pytest.mark.parametrize(
    ("base", "branches", "text"),
    [
        (float("nan"), ((1.0,),), r"costs: base: expected finite numbers, got nan; mend it"),
        (1.0, ((1.0, float("inf")),), r"costs: site 0: expected finite numbers, got inf; mend it"),
        (1.0, ((1.0,), ()), r"costs: site 1: expected a number for every branch, got none"),
    ],
)
def test_what_is_no_cost_is_refused(base: float, branches: tuple[tuple[float, ...], ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        rr.Costs("ms", base, branches)


def test_costs_of_another_plan_are_refused() -> None:
    plan = rr.Plan([rr.Site("a", ("skip", "run"), rr.Uniform(2))])
    with pytest.raises(ValueError, match=r"costs: expected numbers for sites of 2 branches, got 3; take the costs"):
        rr.Costs("ms", 1.0, ((1.0, 2.0, 3.0),)).check(plan)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([0, 1], r"path: expected 1 integers, one per site, got int64 of shape \(2,\)"),
        ([0.0], r"path: expected 1 integers, one per site, got float64"),
        ([2], r"path: expected -1 \(not reached\) or 0..1 for site 0, got 2; mend that route"),
    ],
)
def test_what_is_no_path_is_refused(path: list[float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        rr.Costs("ms", 1.0, ((1.0, 2.0),)).of(path)


def test_costs_are_plain_numbers() -> None:
    costs = rr.Costs("ms", np.float32(1), np.array([[1, 2]]))  # type: ignore[arg-type]
    assert dataclasses.astuple(costs) == ("ms", 1.0, ((1.0, 2.0),))
    assert repr(costs) == "Costs(1 ms + [1, 2])"
