"""The exact law of paths, against brute force over all latent routes of small random plans."""

from __future__ import annotations

import copy
import itertools
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rr_export.errors import PlanError
from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Categorical, Markov, Policy, Uniform

Path = tuple[int, ...]

exact = settings(deadline=None, max_examples=60)


def site(name: str, policy: Policy, *calls: tuple[tuple[int, int], ...]) -> Site:
    """A site with branches a, b, ...; called once at the top unless calls are given."""
    return Site(name, tuple("abcdefghijklmnop"[: policy.branches]), policy, calls=calls or ((),))


def flat(count: int, branches: int) -> Plan:
    return Plan([site(f"s{i}", Uniform(branches)) for i in range(count)])


@st.composite
def laws(draw: st.DrawFn, k: int) -> NDArray[np.float64]:
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=k, max_size=k)), dtype=np.float64)
    weights[draw(st.integers(0, k - 1))] += 1
    law: NDArray[np.float64] = weights / weights.sum()
    return law


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to 6 sites with up to 3 branches, nested, called several times, in chains, all in any site order."""
    count = draw(st.integers(0, 6))
    sizes = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    chained = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))  # 0: independent; else which chain
    order = draw(st.permutations(range(count)))
    calls: dict[int, list[tuple[tuple[int, int], ...]]] = {}
    for n, i in enumerate(order):
        calls[i] = []
        for _ in range(draw(st.integers(0 if n > 3 else 1, 2))):
            parent = draw(st.sampled_from([None, *(p for p in order[:n] if calls[p])]))
            outer = () if parent is None else draw(st.sampled_from(calls[parent]))
            inner = () if parent is None else ((parent, draw(st.integers(0, sizes[parent] - 1))),)
            calls[i].append((*outer, *inner))
    policies: dict[int, Policy] = {}
    for number in sorted(set(chained)):
        steps = draw(st.permutations([i for i in range(count) if chained[i] == number]))
        if number == 0:
            policies |= {i: Categorical(draw(laws(sizes[i]))) for i in steps}
            continue
        rows = [[draw(laws(sizes[b])) for _ in range(sizes[a])] for a, b in itertools.pairwise(steps)]
        chain = Markov(draw(laws(sizes[steps[0]])), rows)
        policies |= {i: chain.step(t) for t, i in enumerate(steps)}
    return Plan([site(f"s{i}", policies[i], *calls[i]) if calls[i] else
                 Site(f"s{i}", tuple("abc"[: sizes[i]]), policies[i], calls=()) for i in range(count)])  # fmt: skip


def latent(plan: Plan) -> list[tuple[Path, float]]:
    """All latent routes with their probabilities, straight from the tables."""
    found = []
    for routes in itertools.product(*(range(len(s.branches)) for s in plan.sites)):
        p = 1.0
        for chain in plan.chains:
            for before, i in zip((None, *chain), chain, strict=False):
                p *= plan.sites[i].policy.table[0 if before is None else routes[before], routes[i]]
        found.append((routes, p))
    return found


def reported(plan: Plan, routes: Sequence[int]) -> Path:
    """The routes with -1 where no call of a site has all its enclosing pairs taken."""
    return tuple(
        route if any(all(routes[s] == k for s, k in call) for call in s.calls) else -1
        for route, s in zip(routes, plan.sites, strict=True)
    )


def reported_law(plan: Plan) -> dict[Path, float]:
    law: dict[Path, float] = defaultdict(float)
    for routes, p in latent(plan):
        law[reported(plan, routes)] += p
    return dict(law)


def pairs_of(path: Path) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """Couples of (site, route) on a path; a couple of the same twice stands for the single route."""
    taken = [(i, r) for i, r in enumerate(path) if r >= 0]
    return {(a, b) for a in taken for b in taken if a <= b}


@given(plans())
@exact
def test_probability_of_every_reported_path(plan: Plan) -> None:
    for path, p in reported_law(plan).items():
        assert plan.probability(path) == pytest.approx(p, abs=1e-12)


@given(plans(), st.data())
@exact
def test_probability_of_a_path_that_says_more_than_it_reports(plan: Plan, data: st.DataObject) -> None:
    routes = data.draw(st.sampled_from([r for r, _ in latent(plan)]))
    hidden = [i for i, r in enumerate(reported(plan, routes)) if r < 0 and data.draw(st.booleans())]
    path = [-1 if i in hidden else r for i, r in enumerate(routes)]
    agreeing = (p for r, p in latent(plan) if all(a in (-1, b) for a, b in zip(path, r, strict=True)))
    assert plan.probability(path) == pytest.approx(sum(agreeing), abs=1e-12)


@given(plans(), st.data())
@exact
def test_probability_needs_the_routes_of_reached_sites(plan: Plan, data: st.DataObject) -> None:
    path = list(data.draw(st.sampled_from(list(plan.paths()))))
    reached = [i for i, r in enumerate(path) if r >= 0 and any(not call for call in plan.sites[i].calls)]
    if reached:
        i = data.draw(st.sampled_from(reached))
        path[i] = -1
        with pytest.raises(ValueError, match=r"path: expected a route for site 's\d', which is reached on .*, got -1"):
            plan.probability(path)


@given(plans())
@exact
def test_marginals_joint_reached_and_kept_counts(plan: Plan) -> None:
    count, everything = len(plan.sites), latent(plan)
    marginals = [np.zeros(len(s.branches)) for s in plan.sites]
    joint = {(i, j): np.zeros((len(marginals[i]), len(marginals[j]))) for i in range(count) for j in range(count)}
    reached, kept = np.zeros(count), np.zeros(count + 1)
    for routes, p in everything:
        for i, route in enumerate(routes):
            marginals[i][route] += p
            for j in range(count):
                joint[i, j][route, routes[j]] += p
        reached += p * (np.array(reported(plan, routes)) >= 0)
        kept[sum(r != 0 for r in routes)] += p
    for law, expected in zip(plan.marginals(), marginals, strict=True):
        np.testing.assert_allclose(law, expected, atol=1e-12)
    for (i, j), table in joint.items():
        np.testing.assert_allclose(plan.joint(i, j), table, atol=1e-12)
    np.testing.assert_allclose(plan.reached(), reached, atol=1e-12)
    np.testing.assert_allclose(plan.kept_counts(), kept, atol=1e-12)


@given(plans(), st.data())
@exact
def test_probability_of_events(plan: Plan, data: st.DataObject) -> None:
    some = st.fixed_dictionaries(
        {}, optional={i: st.lists(st.integers(0, len(s.branches) - 1), unique=True) for i, s in enumerate(plan.sites)}
    )
    events: list[dict[int, list[int]]] = data.draw(st.lists(some, max_size=3))

    def happens(event: dict[int, list[int]], routes: Path) -> bool:
        return all(routes[i] in allowed for i, allowed in event.items())

    for event in events:
        expected = sum(p for routes, p in latent(plan) if happens(event, routes))
        assert plan.probability_of(event) == pytest.approx(expected, abs=1e-12)
    expected = sum(p for routes, p in latent(plan) if any(happens(e, routes) for e in events))
    assert plan.probability_of_any(events) == pytest.approx(expected, abs=1e-12)


@given(plans())
@exact
def test_paths_are_all_reported_paths_once(plan: Plan) -> None:
    paths = list(plan.paths())
    assert set(paths) == set(reported_law(plan))
    assert len(set(paths)) == len(paths) == plan.path_count()
    assert paths == sorted(paths, key=lambda path: [path[i] for i in plan.order])


@given(plans())
@exact
def test_order_is_the_site_order_where_that_encloses(plan: Plan) -> None:
    for n, i in enumerate(plan.order):
        assert {s for call in plan.sites[i].calls for s, _ in call} <= set(plan.order[:n])
    if all(s < i for i, each in enumerate(plan.sites) for call in each.calls for s, _ in call):
        assert plan.order == tuple(range(len(plan.sites)))


@given(plans())
@exact
def test_most_probable_is_the_first_of_the_most_probable(plan: Plan) -> None:
    law = reported_law(plan)
    best = max(law.values())
    tied = [path for path, p in law.items() if p > best * (1 - 1e-7)]
    assert plan.most_probable() == min(tied, key=lambda path: [path[i] for i in plan.order])


@given(plans(), st.integers(0, 2))
@exact
def test_covering_has_every_pair_that_any_path_has(plan: Plan, seed: int) -> None:
    chosen = plan.covering(seed)
    assert set(chosen) <= set(plan.paths())
    assert len(set(chosen)) == len(chosen)
    assert plan.covering(seed) == chosen
    assert set().union(*map(pairs_of, chosen)) == set().union(*map(pairs_of, plan.paths()))


@given(plans(), st.data())
@exact
def test_routes_follow_the_thresholds_and_what_is_forced(plan: Plan, data: st.DataObject) -> None:
    draws = np.array([data.draw(st.integers(0, 2**24 - 1)) * 2.0**-24 for _ in plan.sites], dtype=np.float32)
    forced = [data.draw(st.integers(-1, len(s.branches) - 1)) for s in plan.sites]
    for given_routes in (None, forced):
        routes = plan.routes(draws, given_routes)
        assert routes.dtype == np.int64
        for chain in plan.chains:
            for before, i in zip((None, *chain), chain, strict=False):
                thresholds = plan.sites[i].policy.thresholds[0 if before is None else routes[before]]
                drawn = sum(1 for t in thresholds if t <= draws[i])
                assert routes[i] == (drawn if given_routes is None or forced[i] < 0 else forced[i])
        taken = plan.taken(routes)
        assert taken.dtype == np.int64
        assert taken.tolist() == list(reported(plan, routes.tolist()))
        assert plan.reach(routes).tolist() == (taken >= 0).tolist()
        assert plan.reach(taken).tolist() == (taken >= 0).tolist()


@given(plans())
@settings(deadline=None, max_examples=20)
def test_chains_hold_every_site_once(plan: Plan) -> None:
    assert sorted(i for chain in plan.chains for i in chain) == list(range(len(plan.sites)))
    for chain in plan.chains:
        policies = [plan.sites[i].policy for i in chain]
        assert [getattr(p, "index", 0) for p in policies] == list(range(len(chain)))
        assert len({id(getattr(p, "chain", p)) for p in policies}) == 1


def test_taken_does_not_share_memory_with_the_routes() -> None:
    routes = np.zeros(2, dtype=np.int64)
    flat(2, 2).taken(routes)[:] = 1
    assert routes.tolist() == [0, 0]


def test_empty_plan() -> None:
    plan = Plan([])
    assert list(plan.paths()) == [()]
    assert plan.path_count() == 1
    assert plan.most_probable() == ()
    assert plan.covering() == []
    assert plan.probability([]) == 1.0
    assert plan.kept_counts().tolist() == [1.0]
    assert plan.routes([]).shape == plan.taken([]).shape == plan.reached().shape == (0,)


def test_a_site_that_is_never_called() -> None:
    plan = Plan([Site("used", ("a", "b"), Uniform(2)), Site("unused", ("a", "b"), Uniform(2), calls=())])
    assert plan.reached().tolist() == [1.0, 0.0]
    assert list(plan.paths()) == [(0, -1), (1, -1)]
    assert plan.covering() in ([(0, -1), (1, -1)], [(1, -1), (0, -1)])


def two_stacks(layers: int) -> Plan:
    """A choice between two stacks of layers, each kept with probability one half: everything is tied."""
    inner = [site(f"stack.{b}.{n}", Uniform(2), ((0, b),)) for b in (0, 1) for n in range(layers)]
    return Plan([site("stack", Uniform(2)), *inner])


def thirds(steps: int) -> Plan:
    """A chain in which everything is tied, but only up to the rounding of 1/3."""
    chain = Markov([1 / 3] * 3, [[1 / 3] * 3] * 3)
    return Plan([site(f"s{t}", chain.step(t)) for t in range(steps)])


def shared(owners: int) -> Plan:
    """One site called in branch 1 of each of many, and another inside it."""
    outer = [site(f"o{i}", Categorical([0.75, 0.25])) for i in range(owners)]
    middle = site("middle", Uniform(2), *(((i, 1),) for i in range(owners)))
    inner = site("inner", Uniform(2), *(((i, 1), (owners, 1)) for i in range(owners)))
    return Plan([*outer, middle, inner])


def under_a_second(work: Callable[[], Any]) -> Any:
    """The result of the work; the limit is far above what it takes, and far below an enumeration."""
    start = time.process_time()
    result = work()
    assert time.process_time() - start < 1.0
    return result


@pytest.mark.parametrize(
    ("plan", "count"),
    [
        pytest.param(flat(48, 2), 2**48, id="48 layers"),
        pytest.param(flat(24, 4), 4**24, id="24 experts"),
        pytest.param(two_stacks(40), 2**41, id="two stacks of 40"),
        pytest.param(thirds(30), 3**30, id="chain of 30"),
        pytest.param(shared(20), (2**20 - 1) * 3 + 1, id="shared by 20"),
    ],
)
def test_many_paths_are_counted_fast(plan: Plan, count: int) -> None:
    assert under_a_second(plan.path_count) == count


@pytest.mark.parametrize(
    ("plan", "best"),
    [
        pytest.param(flat(48, 2), (0,) * 48, id="48 layers"),
        pytest.param(two_stacks(20), (*[0] * 21, *[-1] * 20), id="two stacks of 20"),
        pytest.param(thirds(24), (0,) * 24, id="chain of thirds"),
        pytest.param(shared(20), (*[0] * 20, -1, -1), id="shared by 20"),
    ],
)
def test_bug_ties_do_not_make_the_most_probable_path_slow(plan: Plan, best: Path) -> None:
    assert under_a_second(plan.most_probable) == best


@pytest.mark.parametrize(("sites", "branches", "most"), [(48, 2, 17), (24, 4, 50)])
def test_covering_sets_of_large_plans_are_small(sites: int, branches: int, most: int) -> None:
    chosen = under_a_second(flat(sites, branches).covering)
    assert len(chosen) <= most
    assert len(set().union(*map(pairs_of, chosen))) == sites * branches + sites * (sites - 1) // 2 * branches**2


def test_reach_through_many_callers() -> None:
    some = 1 - 0.75**20
    assert under_a_second(shared(20).reached)[-2:].tolist() == pytest.approx([some, some / 2], abs=1e-12)


def test_bug_a_thousand_sites_do_not_exhaust_the_stack() -> None:
    assert next(flat(1200, 2).paths()) == (0,) * 1200


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ([0], r"path: expected 2 integers, one per site, got int64 of shape \(1,\); see plan\.sites"),
        ([0.0, 1.0], r"path: expected 2 integers, one per site, got float64 of shape \(2,\)"),
        ([True, False], r"path: expected 2 integers, one per site, got bool of shape \(2,\)"),
        ([0, 3], r"path: expected -1 \(draw\) or 0\.\.2 \(a, b, c\) for site 's1', got 3; mend that route"),
        ([-2, 0], r"path: expected -1 \(draw\) or 0\.\.2 \(a, b, c\) for site 's0', got -2; mend that route"),
        (np.array([0, 2**64 - 1], dtype=np.uint64), r"for site 's1', got 18446744073709551615;"),
    ],
)
def test_check_path_refuses(path: Any, message: str) -> None:
    plan = flat(2, 3)
    for use in (plan.check_path, plan.probability, lambda p: plan.routes([0.0, 0.0], p)):
        with pytest.raises(ValueError, match=message):
            use(path)


def test_check_path_returns_int64() -> None:
    checked = flat(2, 3).check_path(np.array([-1, 2], dtype=np.int8))
    assert checked.dtype == np.int64
    assert checked.tolist() == [-1, 2]


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ([0.5], r"draws: expected shape \(2,\), got \(1,\); give one draw per site"),
        ([0.5, 1.0], r"route: expected a draw in \[0, 1\)"),
    ],
)
def test_routes_refuse_draws(draws: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flat(2, 3).routes(draws)


CHAIN = Markov([0.5, 0.5], np.eye(2))


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        pytest.param(
            [site("s", Uniform(2)), site("s", Uniform(2))],
            r"plan: expected different names, got 's' twice; rename one site",
            id="same name",
        ),
        pytest.param(
            [Site("s", ("a", "b"), Uniform(3))],
            r"site 's': expected a policy over 2 branches, got one over 3; make the counts agree",
            id="other K",
        ),
        pytest.param(
            [site("s", CHAIN.step(0)), site("t", CHAIN.step(2))],
            r"plan: expected the steps 0\.\.1 of a chain, each at one site, got 's' \(step 0\), 't' \(step 2\)",
            id="gap",
        ),
        pytest.param(
            [site("s", CHAIN.step(0)), site("t", CHAIN.step(0))],
            r"plan: expected the steps 0\.\.1 of a chain, each at one site, got 's' \(step 0\), 't' \(step 0\)",
            id="repeat",
        ),
        pytest.param([site("s", CHAIN.step(1))], r"the steps 0\.\.0 of a chain, .* got 's' \(step 1\)", id="no start"),
        pytest.param(
            [site("s", Uniform(2), ((1, 0),)), site("t", Uniform(2), ((0, 1),))],
            r"plan: expected calls nested in an order, got 's', 't' inside each other; mend the calls",
            id="cycle",
        ),
        pytest.param(
            [site("s", Uniform(2), ((0, 0),))], r"nested in an order, got 's' inside each other", id="inside itself"
        ),
        pytest.param(
            [site("s", Uniform(2), ((1, 0),))],
            r"site 's': expected calls inside sites 0\.\.0, got one inside site 1; give site indices",
            id="no such site",
        ),
        pytest.param(
            [site("s", Uniform(2)), site("t", Uniform(2), ((-1, 0),))],
            r"site 't': expected calls inside sites 0\.\.1, got one inside site -1",
            id="negative site",
        ),
        pytest.param(
            [site("s", Uniform(2)), site("t", Uniform(2), ((0, 2),))],
            r"site 't': expected calls inside branch 0\.\.1 of 's', got one inside branch 2; give branch indices",
            id="no such branch",
        ),
        pytest.param(
            [site("s", Uniform(2)), site("t", Uniform(2), ((0, 1),)), site("u", Uniform(2), ((1, 0),))],
            r"site 'u': expected calls that name every enclosing site, got \[\(1, 0\)\], under which 't' is not called",
            id="bug: half a stack",
        ),
    ],
)
def test_plan_refuses(sites: list[Site], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan(sites)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_of_a_plan_keep_its_law(copied: Callable[[Plan], Plan]) -> None:
    chain = Markov([0.25, 0.75], [[0.5, 0.5], [0.0, 1.0]])
    plan = Plan([site("t", chain.step(1), ((1, 1),)), site("s", chain.step(0)), site("u", Uniform(3))])
    twin = copied(plan)
    assert twin.chains == plan.chains == ((1, 0), (2,))
    assert [(p, twin.probability(p)) for p in twin.paths()] == [(p, plan.probability(p)) for p in plan.paths()]
    assert twin.sites[0].policy.chain is twin.sites[1].policy.chain  # type: ignore[attr-defined]
