"""Laws that meet a budget, against searches over all laws of paths, and over all policies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

import rr_export as rr
from rr_export.laws.budget import fit_budget
from rr_export.laws.drawn_tables import as_drawn, nearest_drawn
from rr_export.laws.policies import LEAST
from tests.laws.random_plans import KINDS, random_costs, random_plan
from tests.laws.test_plan import latent, plans, reported_law

TREES = ("independent", "chain", "tree", "tree of chains")
Tables = list[NDArray[np.float64]]


def cost_by_hand(costs: rr.Costs, path: Sequence[int]) -> float:
    """Returns what a path costs, from its definition."""
    return costs.base + sum(costs.branches[i][k] for i, k in enumerate(path) if k >= 0)


def mean_by_hand(plan: rr.Plan, costs: rr.Costs) -> float:
    """Returns the expected cost, path by path."""
    return sum(p * cost_by_hand(costs, path) for path, p in reported_law(plan).items())


def divergence(after: dict[tuple[int, ...], float], before: dict[tuple[int, ...], float]) -> float:
    """Returns KL(after || before), path by path."""
    return sum(q * math.log(q / before[path]) for path, q in after.items() if q > 0)


def least_divergence(p: NDArray[np.float64], cost: NDArray[np.float64], limit: float) -> float:
    """Returns min KL(q || p) over all q >= 0 that sum to 1 and cost at most the limit on average."""
    low, scale = float(cost.min()), float(np.ptp(cost)) or 1.0
    start = np.where(cost == low, 1.0, 1e-3)
    found = minimize(
        lambda q: float(np.sum(q * np.log(np.maximum(q, 1e-300) / p))),
        start / start.sum(),
        jac=lambda q: np.log(np.maximum(q, 1e-300) / p) + 1,
        bounds=[(0, 1)] * len(p),
        constraints=[
            {"type": "eq", "fun": lambda q: q.sum() - 1, "jac": lambda q: np.ones(len(q))},
            {"type": "ineq", "fun": lambda q: (limit - q @ cost) / scale, "jac": lambda q: -cost / scale},
        ],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    assert found.x @ cost <= limit + 1e-6 * scale and abs(found.x.sum() - 1) < 1e-6
    return float(found.fun)


def nearest_of_all(plan: rr.Plan, costs: rr.Costs, limit: float) -> float:
    """Returns the least divergence of any law of paths that meets the limit."""
    law = {path: p for path, p in reported_law(plan).items() if p > 0}
    return least_divergence(np.array([*law.values()]), np.array([cost_by_hand(costs, path) for path in law]), limit)


def half_way(plan: rr.Plan, costs: rr.Costs, share: float = 0.5) -> float:
    """Returns a budget, in the costs' unit, between the cheapest path and the average."""
    cheapest = min(cost_by_hand(costs, path) for path, p in reported_law(plan).items() if p > 0)
    return cheapest + share * (mean_by_hand(plan, costs) - cheapest)


def differs(fitted: rr.Plan, plan: rr.Plan, costs: rr.Costs, limit: float) -> bool:
    """Tells whether a law misses the limit, or is farther from the plan's than need be."""
    far = divergence(reported_law(fitted), reported_law(plan))
    return mean_by_hand(fitted, costs) > limit + 1e-9 or far > nearest_of_all(plan, costs, limit) + 2e-6


@pytest.mark.parametrize("kind", TREES)
def test_of_all_laws_that_meet_the_budget_it_is_the_nearest(kind: str) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        plan = random_plan(kind, rng)
        costs = random_costs(plan, rng)
        limit = half_way(plan, costs, float(rng.uniform(0.2, 0.9)))
        fitted = fit_budget(plan, costs, limit, in_unit=True)
        assert not differs(fitted, plan, costs, limit), (kind, seed)
        assert costs.expected(fitted) <= limit
        assert mean_by_hand(fitted, costs) == pytest.approx(limit, rel=1e-5)  # nothing is given away


@pytest.mark.parametrize("kind", TREES)
def test_a_law_that_is_not_the_nearest_is_found_out(kind: str) -> None:
    """The sabotaged twin: a budget met otherwise than by tilting, or missed by a ten-thousandth."""
    rng = np.random.default_rng(7)
    plan = random_plan(kind, rng)
    costs = random_costs(plan, rng)
    limit = half_way(plan, costs)
    fitted = fit_budget(plan, costs, limit, in_unit=True)
    assert differs(fit_budget(plan, costs, limit * 1.0001, in_unit=True), plan, costs, limit)
    assert differs(
        fit_budget(plan, costs, limit - 0.1 * (limit - costs.cheapest(plan)), in_unit=True), plan, costs, limit
    )
    assert not differs(fitted, plan, costs, limit)


def best_policies(plan: rr.Plan, costs: rr.Costs, limit: float, starts: int) -> float:
    """Returns the least divergence of latent routes or paths that a search over policies finds, path by path."""
    shapes = [site.policy.table.shape for site in plan.sites]
    of_latent = any(len(chain) > 1 for chain in plan.chains)
    routes = [r for r, _ in latent(plan)]
    taken = [tuple(plan.taken(r).tolist()) for r in routes]
    cost = np.array([cost_by_hand(costs, path) for path in taken])
    numbers = {path: n for n, path in enumerate(dict.fromkeys(taken))}
    group = np.array([numbers[path] for path in taken])
    before = {i: None if chain[0] == i else chain[chain.index(i) - 1] for chain in plan.chains for i in chain}

    def law(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        total, begin = np.ones(len(routes)), 0
        columns = np.array(routes)
        for i, shape in enumerate(shapes):
            table = np.exp(logits[begin : begin + shape[0] * shape[1]].reshape(shape))
            table /= table.sum(axis=1, keepdims=True)
            begin += shape[0] * shape[1]
            row = np.zeros(len(routes), int) if before[i] is None else columns[:, before[i]]
            total = total * table[row, columns[:, i]]
        return total

    own = np.concatenate([np.log(site.policy.table).ravel() for site in plan.sites])
    p = law(own)

    def far(logits: NDArray[np.float64]) -> float:
        q = law(logits)
        a, b = (q, p) if of_latent else (np.bincount(group, q), np.bincount(group, p))
        return float(np.sum(a * np.log(np.maximum(a, 1e-300) / b)))

    rng, found = np.random.default_rng(0), [math.inf]
    for n in range(starts):
        result = minimize(
            far,
            own + (rng.normal(0, 1.5, len(own)) if n else 0),
            method="SLSQP",
            constraints={"type": "ineq", "fun": lambda x: limit - law(x) @ cost},
            options={"maxiter": 300, "ftol": 1e-10},
        )
        if law(result.x) @ cost <= limit + 1e-7:
            found.append(float(result.fun))
    return min(found)


def divergence_of_policies(after: rr.Plan, before: rr.Plan) -> float:
    """Returns what ``best_policies`` minimises: of latent routes where there is a chain, else of paths."""
    if any(len(chain) > 1 for chain in before.chains):
        return divergence(dict(latent(after)), dict(latent(before)))
    return divergence(reported_law(after), reported_law(before))


@pytest.mark.parametrize("kind", ["any", "any chains"])
def test_where_sites_are_called_in_several_places_it_is_the_nearest_that_policies_say(kind: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        plan = random_plan(kind, rng, sites=3)
        costs = random_costs(plan, rng)
        limit = half_way(plan, costs)
        fitted = fit_budget(plan, costs, limit, in_unit=True)
        far = divergence_of_policies(fitted, plan)
        assert mean_by_hand(fitted, costs) <= limit + 1e-9
        assert nearest_of_all(plan, costs, limit) - 2e-6 <= far <= best_policies(plan, costs, limit, 3) + 2e-5


def test_conditions_that_meet_in_one_branch_are_coupled_by_no_policy() -> None:
    """`if a: if b: c`, with b drawn anyway: the nearest law of all makes a and b depend on each other."""
    sites = [rr.Site(name, ("no", "yes"), rr.Uniform(2)) for name in "ab"]
    plan = rr.Plan([*sites, rr.Site("c", ("skip", "run"), rr.Uniform(2), calls=(((0, 1), (1, 1)),))])
    costs = rr.Costs("ms", 1.0, ((0.0, 0.0), (0.0, 0.0), (0.0, 8.0)))
    limit = half_way(plan, costs, 0.3)
    fitted = fit_budget(plan, costs, limit, in_unit=True)
    far = divergence(reported_law(fitted), reported_law(plan))
    assert mean_by_hand(fitted, costs) == pytest.approx(limit, rel=1e-5)
    assert nearest_of_all(plan, costs, limit) + 1e-3 < far <= best_policies(plan, costs, limit, 6) + 2e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [50, 95])
def test_so_many_runs_stay_within_the_budget(kind: str, percent: float) -> None:
    rng = np.random.default_rng(11)
    plan = random_plan(kind, rng)
    costs = random_costs(plan, rng)
    limit = (costs.cheapest(plan) + costs.law(plan).percentile(percent)) / 2
    fitted = fit_budget(plan, costs, limit / costs.dearest(plan), percentile=percent)
    within = sum(p for path, p in reported_law(fitted).items() if cost_by_hand(costs, path) <= limit + 1e-9)
    assert percent / 100 - 1e-9 <= within < percent / 100 + 0.02  # of the least tilt, not of any


def test_what_meets_the_budget_stays() -> None:
    rng = np.random.default_rng(0)
    plan = random_plan("tree", rng)
    costs = random_costs(plan, rng)
    assert fit_budget(plan, costs, 1.0) is plan
    assert fit_budget(plan, costs, mean_by_hand(plan, costs) + 1e-6, in_unit=True) is plan
    assert fit_budget(plan, costs, mean_by_hand(plan, costs) - 1e-6, in_unit=True) is not plan


@pytest.mark.parametrize("kind", KINDS)
def test_the_cheapest_path_is_the_least_budget(kind: str) -> None:
    rng = np.random.default_rng(5)
    plan = random_plan(kind, rng)
    costs = random_costs(plan, rng)
    least = costs.cheapest(plan)
    fitted = fit_budget(plan, costs, least * (1 + 1e-12), in_unit=True)
    assert max(cost_by_hand(costs, path) for path, p in reported_law(fitted).items() if p > 0) == pytest.approx(least)
    share = math.ceil(least / costs.dearest(plan) * 1e4) / 1e4
    with pytest.raises(
        ValueError, match=rf"budget: expected at least 0\.\d+, which the cheapest path .* got {share / 2}"
    ):
        fit_budget(plan, costs, share / 2)


def test_paths_of_probability_0_pay_for_nothing() -> None:
    plan = rr.Plan(
        [rr.Site("a", ("skip", "run"), rr.Categorical([0.0, 1.0])), rr.Site("b", ("skip", "run"), rr.Uniform(2))]
    )
    costs = rr.Costs("ms", 1.0, ((0.0, 4.0), (0.0, 5.0)))
    with pytest.raises(ValueError, match=r"budget: expected at least 0.5, which the cheapest path of the plan costs"):
        fit_budget(plan, costs, 0.3)
    fitted = fit_budget(plan, costs, 0.6)
    assert fitted.sites[0].policy.table.tolist() == [[0.0, 1.0]]
    assert fitted.sites[1].policy.table[0, 1] == pytest.approx(0.2, abs=1e-6)


def test_draws_have_the_law_to_the_last() -> None:
    """Probabilities are multiples of 2^-24, and thresholds are where the draws of the branches part."""
    rng = np.random.default_rng(2)
    plan = random_plan("chain", rng)
    costs = random_costs(plan, rng)
    fitted = fit_budget(plan, costs, half_way(plan, costs), in_unit=True)
    for site, drawn in zip(fitted.sites, as_drawn(fitted).sites, strict=True):
        table = site.policy.table
        assert np.array_equal(table, drawn.policy.table) and np.array_equal(table / LEAST, np.round(table / LEAST))
        assert np.array_equal(site.policy.thresholds, np.cumsum(table, axis=1)[:, :-1])


def test_rounding_to_draws_keeps_sums_and_zeros() -> None:
    rng = np.random.default_rng(3)
    table = rng.random((50, 4)) * rng.integers(0, 2, (50, 4)) + np.eye(4)[rng.integers(0, 4, 50)] * 1e-9
    table /= table.sum(axis=1, keepdims=True)
    found = nearest_drawn(table)
    assert np.array_equal(found.sum(axis=1), np.ones(50))
    assert np.abs(found - table).max() <= LEAST and (found[table == 0] == 0).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p, c: fit_budget(p, c, "0.6"), TypeError, r"budget: expected a number, got str; pass a share such as"),  # type: ignore[arg-type]
        (lambda p, c: fit_budget(p, c, True), TypeError, r"budget: expected a number, got bool"),
        (lambda p, c: fit_budget(p, c, 0), ValueError, r"budget: expected a share above 0 and at most 1, got 0; pass"),
        (lambda p, c: fit_budget(p, c, 1.5), ValueError, r"budget: expected a share above 0 and at most 1, got 1.5"),
        (
            lambda p, c: fit_budget(p, c, -1, in_unit=True),
            ValueError,
            r"budget: expected a number of ms above 0, got -1",
        ),
        (lambda p, c: fit_budget(p, c, 0.5, percentile=0), ValueError, r"percentile: expected a number above 0 and"),
        (lambda p, c: fit_budget(p, rr.Costs("ms", 1.0, ()), 0.5), ValueError, r"costs: expected numbers for sites of"),
    ],
)
def test_what_is_no_budget_is_refused(
    call: Callable[[rr.Plan, rr.Costs], rr.Plan], error: type[Exception], text: str
) -> None:
    plan = rr.Plan([rr.Site("a", ("skip", "run"), rr.Uniform(2))])
    with pytest.raises(error, match=text):
        call(plan, rr.Costs("ms", 1.0, ((0.0, 4.0),)))


def test_sixty_steps_of_a_chain_are_no_matter() -> None:
    chain = rr.Markov([0.3, 0.7], [[0.6, 0.4], [0.2, 0.8]])
    plan = rr.Plan([rr.Site(f"s{i}", ("skip", "run"), chain.step(i)) for i in range(60)])
    costs = rr.Costs("FLOPs", 1.0, tuple((0.0, 1.0 + i % 7) for i in range(60)))
    fitted = fit_budget(plan, costs, 0.4)
    assert 0.4 - 1e-5 <= costs.expected(fitted) / costs.dearest(plan) <= 0.4


def lower_bound(plan: rr.Plan, costs: rr.Costs, limit: float) -> float:
    """Returns what no law within the limit is nearer than: the most of -log sum p exp(-s (cost - limit)), s >= 0."""
    law = {path: p for path, p in reported_law(plan).items() if p > 0}
    logs, over = np.log([*law.values()]), np.array([cost_by_hand(costs, path) for path in law]) - limit
    return -float(minimize_scalar(lambda s: logsumexp(logs - s * over), bounds=(0, 200), method="bounded").fun)


def stands_in_trees(plan: rr.Plan) -> bool:
    """Tells whether every site is called once, right inside of one branch, and chains are in one place."""
    calls = [set(map(frozenset, site.calls)) for site in plan.sites]
    once = all(
        len(found) <= 1 and all(not c or any(c - {pair} in calls[pair[0]] for pair in c) for c in found)
        for found in calls
    )
    return once and all(len({frozenset(calls[i]) for i in chain}) == 1 for chain in plan.chains)


@given(plans(), st.integers(0, 2**32), st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=40)
def test_any_plan_meets_its_budget(plan: rr.Plan, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    costs = rr.Costs("ms", 30.0, tuple(tuple(rng.normal(0, 2, len(s.branches)).tolist()) for s in plan.sites))
    limit = half_way(plan, costs, share)
    fitted = fit_budget(plan, costs, limit, in_unit=True)
    far, least = divergence(reported_law(fitted), reported_law(plan)), lower_bound(plan, costs, limit)
    assert mean_by_hand(fitted, costs) <= limit + 1e-9 and far >= least - 1e-6
    if stands_in_trees(plan):
        assert far <= least + 1e-5
