"""Which branches stay, and laws over them: against every combination of routes of small random plans."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

import rr_export as rr
from rr_export.laws.kept_branches import (
    kept_branches,
    law_of_kept,
    path_of_kept,
    plan_of_kept,
    profile_of_kept,
    taken,
    takes_only,
)
from rr_export.laws.profile import Profile, profile_of
from tests.laws.random_plans import KINDS, random_plan


def thinned(plan: rr.Plan, rng: np.random.Generator) -> rr.Plan:
    """The plan with some probabilities 0."""

    def row(numbers: np.ndarray) -> list[float]:
        kept = rng.random(len(numbers)) < 0.6
        kept[rng.integers(len(numbers))] = True
        return (numbers * kept / (numbers * kept).sum()).tolist()  # type: ignore[no-any-return]

    policies: dict[str, rr.Categorical] = {}
    for chain in plan.chains:
        tables = [[row(r) for r in plan.sites[i].policy.table] for i in chain]
        if len(chain) == 1 and len(tables[0]) == 1:
            policies[plan.sites[chain[0]].name] = rr.Categorical(tables[0][0])
            continue
        made = rr.Markov(tables[0][0], tables[1:])
        policies |= {plan.sites[i].name: made.step(t) for t, i in enumerate(chain)}  # type: ignore[dict-item]
    return plan.with_policies(policies)


def drawn(law: rr.Plan) -> Iterator[tuple[int, ...]]:
    """Every combination of latent routes of a probability above 0."""
    for routes in itertools.product(*(range(len(site.branches)) for site in law.sites)):
        if law.probability_of({i: [r] for i, r in enumerate(routes)}) > 0:
            yield routes


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_is_what_some_draw_takes_and_laws_stay_as_they_were(kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(12):
        plan = random_plan(kind, rng)
        laws = [thinned(plan, rng) for _ in range(2)]
        chained = {i for chain in plan.chains if len(chain) > 1 for i in chain}
        for law in laws:
            found = [set[int]() for _ in plan.sites]
            for routes in drawn(law):
                path = law.taken(routes)
                for i, (latent, reported) in enumerate(zip(routes, path.tolist(), strict=True)):
                    found[i].update([latent] if i in chained else [reported] if reported >= 0 else [])
            assert taken(law) == found
        some = next(iter(plan.paths()))
        profiles = [*(Profile(law=law) for law in laws), profile_of(plan, some)]
        kept = kept_branches(plan, profiles)
        for i, here in enumerate(kept):
            wanted = {r for law in laws for r in taken(law)[i]} | ({some[i]} if some[i] >= 0 else set())
            assert set(here) >= wanted and (i in chained or set(here) == (wanted or {0}))
        assert all(takes_only(law, kept) for law in laws)
        whole = all(len(here) == len(site.branches) for here, site in zip(kept, plan.sites, strict=True))
        assert takes_only(plan, kept) or not whole
        for law in laws:
            left = plan_of_kept(law, kept)
            for _ in range(40):
                draws = np.floor(rng.random(len(plan.sites)) * 2**24).astype(np.float32) * np.float32(2**-24)
                assert left.taken(left.routes(draws)).tolist() == list(path_of_kept(law.taken(law.routes(draws)), kept))
        fixed = law_of_kept(plan, profiles[-1], kept)
        reported = profile_of_kept(profiles[-1], kept).path
        assert reported == path_of_kept(some, kept)
        assert fixed.most_probable() == reported and fixed.probability(reported) == pytest.approx(1)


def test_a_route_that_can_follow_one_that_stays_stays(  # though none of the laws draws it
) -> None:
    sites = [rr.Site(name, ("a", "b", "c"), rr.Uniform(3)) for name in ("x", "y")]
    plan = rr.Plan(sites)
    chain = rr.Markov([1, 0, 0], [[[1, 0, 0], [0, 0, 1], [0, 1, 0]]])
    law = plan.with_policies({"x": chain.step(0), "y": chain.step(1)})
    other = plan.with_policies({"x": rr.Categorical([0, 1, 0]), "y": rr.Categorical([1, 0, 0])})
    assert kept_branches(plan, [Profile(law=law)]) == ((0,), (0,))
    assert kept_branches(plan, [Profile(law=law), Profile(law=other)]) == ((0, 1), (0, 2))
    assert not takes_only(law, ((0, 1), (0,))) and takes_only(law, ((0, 1), (0, 2)))


def test_a_path_through_what_is_gone_has_no_number() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        path_of_kept((1,), ((0, 2),))
