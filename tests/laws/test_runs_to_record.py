"""The recorded runs take every branch that a path can take, and few paths are enough."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Categorical, Markov, Uniform
from rr_export.laws.runs_to_record import branch_cover, runs_to_record, untaken


def site(name: str, branches: int = 2, calls: Sequence[Sequence[tuple[int, int]]] = ((),)) -> Site:
    names = tuple(f"b{k}" for k in range(branches))
    return Site(name, names, Uniform(branches), "operation", tuple(tuple(call) for call in calls))


def taken(paths: Sequence[Sequence[int]]) -> set[tuple[int, int]]:
    return {(i, k) for path in paths for i, k in enumerate(path) if k >= 0}


def test_independent_sites_need_as_many_paths_as_the_widest_has_branches() -> None:
    plan = Plan([site("a", 2), site("b", 5), site("c", 3)])
    first = plan.most_probable()
    further = [path for path, _ in branch_cover(plan, first)]
    assert len(further) == 4
    assert taken([first, *further]) == {(0, 0), (0, 1), *((1, k) for k in range(5)), *((2, k) for k in range(3))}


def test_other_sites_stay_on_their_likeliest_routes() -> None:
    sites = [
        Site("rare", ("x", "y", "z"), Categorical([0.8, 0.1, 0.1])),
        Site("usual", ("skip", "run"), Categorical([0.1, 0.9])),
    ]
    runs = runs_to_record(Plan(sites))
    assert [(run.why, run.seed, run.path) for run in runs] == [
        ("most probable path", None, (0, 1)),
        ("covers rare: y, usual: skip", None, (1, 0)),
        ("covers rare: z", None, (2, 1)),
        ("seed 0", 0, None),
        ("seed 1", 1, None),
    ]


def test_a_reason_names_a_few_branches() -> None:
    runs = runs_to_record(Plan([site(f"s{i}") for i in range(6)]))
    assert runs[1].why == "covers s0: b1, s1: b1, s2: b1 and 3 more"


def test_nothing_is_recorded_twice_without_sites() -> None:
    assert [(run.seed, run.path) for run in runs_to_record(Plan([]))] == [(None, None)]


@pytest.mark.parametrize("chain", [False, True])
def test_what_no_path_takes_is_left_out(chain: bool) -> None:
    """A call inside two branches of one site is never reached; a route of probability 0 is, as it can be forced."""
    never = site("never", 2, [[(0, 0), (0, 1)]])
    sites = [site("outer"), never]
    if chain:
        steps = Markov([1.0, 0.0], [[[1.0, 0.0], [0.0, 1.0]]])
        sites += [Site(f"step{i}", ("p", "q"), steps.step(i)) for i in range(2)]
    plan = Plan(sites)
    found = taken([plan.most_probable(), *(path for path, _ in branch_cover(plan, plan.most_probable()))])
    assert found == {(0, 0), (0, 1), *(((2, 0), (2, 1), (3, 0), (3, 1)) if chain else ())}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Sites of 1 to 4 branches, each called at the top, inside earlier sites, or in both places."""
    sites: list[Site] = []
    for number in range(draw(st.integers(1, 6))):
        calls: list[list[tuple[int, int]]] = []
        for _ in range(draw(st.integers(1, 2))):
            outer = draw(st.integers(-1, number - 1))
            if outer < 0 or not sites[outer].calls:
                calls.append([])
            else:
                around = list(draw(st.sampled_from(sites[outer].calls)))
                calls.append([*around, (outer, draw(st.integers(0, len(sites[outer].branches) - 1)))])
        sites.append(site(f"s{number}", draw(st.integers(1, 4)), calls))
    return Plan(sites)


@settings(max_examples=60, deadline=None)
@given(plans())
def test_every_branch_of_any_path_is_taken(plan: Plan) -> None:
    first = plan.most_probable()
    cover = list(branch_cover(plan, first))
    every = set(plan.paths())
    assert taken([first, *(path for path, _ in cover)]) == taken(list(every))
    assert untaken(plan, [first, *(path for path, _ in cover)]) == []
    assert len(untaken(plan, [])) == len(taken(list(every)))
    for path, new in cover:
        assert path in every and new  # each adds a branch
    before = taken([first])
    for path, new in cover:
        assert set(new) == taken([path]) - before
        before |= set(new)
