"""Which branches some laws can take, and plans, laws and paths over these alone.

Sites stay, with their names, their order and so their draws; a branch that stays keeps its name, and is counted among
those of its site that stay. Thresholds stay too: a branch that is never drawn lies between two equal ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from rr_export.laws.plan import Plan
from rr_export.laws.policies import Categorical, Gated, Markov, MarkovStep, Policy
from rr_export.laws.profile import Profile, plan_under
from rr_export.laws.site import Site

Kept = tuple[tuple[int, ...], ...]  # for every site the branches that stay, rising, at least one


def kept_branches(plan: Plan, profiles: Iterable[Profile]) -> Kept:
    """Returns the branches that one of the profiles can take; of a site that none of them reaches the first.

    Of a step of a chain, whose route the next step looks at wherever it is drawn, these are all that can be drawn, or
    that can follow a route that stays. Of a gate they are all: the input decides there.
    """
    laws = [profile.law for profile in profiles if profile.law is not None]
    found = [set[int]() for _ in plan.sites]
    for profile in profiles:
        routes = [[r] if r >= 0 else [] for r in profile.path or ()] if profile.law is None else taken(profile.law)
        for routes_here, more in zip(found, routes, strict=True):
            routes_here.update(more)
    for routes_here in found:
        routes_here.update(() if routes_here else (0,))
    _close(found, laws)
    return tuple(tuple(sorted(routes_here)) for routes_here in found)


def taken(law: Plan) -> list[set[int]]:
    """Returns for every site the routes that runs of a law can take; of a step of a chain those that can be drawn."""
    given = law.evenly()
    chained, marginals = _chained(law), given.marginals()

    def possible(i: int, route: int) -> bool:
        if i in chained:
            return bool(marginals[i][route] > 0)
        calls = [dict(call) for call in given.sites[i].calls if len(dict(call)) == len(call)]
        return given.probability_of_any([{**{s: [k] for s, k in call.items()}, i: [route]} for call in calls]) > 0

    return [{k for k in range(len(site.branches)) if possible(i, k)} for i, site in enumerate(law.sites)]


def takes_only(law: Plan, kept: Kept) -> bool:
    """Returns whether runs of a law, with whatever routes forced that stay, take branches that stay alone."""
    found = [set(routes) for routes in kept]
    mine = taken(law)
    _close(found, [law])
    return all(set(routes) >= more | own for routes, more, own in zip(kept, found, mine, strict=True))


def plan_of_kept(law: Plan, kept: Kept) -> Plan:
    """Returns a law over the branches that stay; calls inside of others are gone.

    At a site that the law never reaches it decides nothing, and may draw what goes: there the probabilities of what
    stays are divided by their sum, or, where that is 0, the first branch has probability 1.
    """
    chains: dict[int, Markov] = {}
    for chain in law.chains:
        tables = [law.sites[i].policy.table for i in chain if isinstance(law.sites[i].policy, MarkovStep)]
        if tables:
            columns = [table[:, kept[i]] for table, i in zip(tables, chain, strict=True)]
            later = [table[list(kept[before])] for table, before in zip(columns[1:], chain, strict=False)]
            made = Markov(columns[0][0], later)
            chains |= dict.fromkeys(chain, made)
    return Plan([_site(site, i, kept, chains.get(i)) for i, site in enumerate(law.sites)])


def profile_of_kept(profile: Profile, kept: Kept) -> Profile:
    """Returns a profile over the branches that stay."""
    law = None if profile.law is None else plan_of_kept(profile.law, kept)
    return replace(profile, law=law, path=None if profile.path is None else path_of_kept(profile.path, kept))


def law_of_kept(plan: Plan, profile: Profile, kept: Kept) -> Plan:
    """Returns the plan over the branches that stay whose law is that of a profile."""
    if profile.law is not None:
        return plan_of_kept(profile.law, kept)
    assert profile.path is not None
    routes = [max(r, 0) if r >= 0 else here[0] for r, here in zip(profile.path, kept, strict=True)]
    return plan_of_kept(plan_under(plan, replace(profile, path=tuple(routes))), kept)


def path_of_kept(path: Sequence[int], kept: Kept) -> tuple[int, ...]:
    """Returns a path in the numbers of the branches that stay; -1 stays.

    Raises:
        ValueError: it takes a branch that goes.
    """
    return tuple(routes.index(route) if route >= 0 else -1 for route, routes in zip(path, kept, strict=True))


def _site(site: Site, i: int, kept: Kept, chain: Markov | None) -> Site:
    calls = [tuple((s, kept[s].index(k)) for s, k in call) for call in site.calls if all(k in kept[s] for s, k in call)]
    names = tuple(site.branches[k] for k in kept[i])
    return replace(site, branches=names, policy=_policy(site.policy, kept[i], chain), calls=tuple(calls))


def _policy(policy: Policy, kept: Sequence[int], chain: Markov | None) -> Policy:
    if isinstance(policy, Gated):
        return policy if len(kept) == policy.branches else Categorical(np.eye(len(kept))[0])  # never reached
    if isinstance(policy, MarkovStep):
        assert chain is not None
        return chain.step(policy.index)
    row = policy.table[0][list(kept)]
    if not np.delete(policy.table[0], kept).any():
        return Categorical(row)
    return Categorical(row / row.sum() if row.sum() > 0 else np.eye(len(kept))[0])


def _close(found: list[set[int]], laws: Sequence[Plan]) -> None:
    """Every route is there too that a later step of a chain draws after one that is."""
    grown = True
    while grown:
        before = [len(routes) for routes in found]
        for law in laws:
            for chain in law.chains:
                for previous, i in itertools.pairwise(chain):
                    rows = law.sites[i].policy.table[sorted(found[previous])]
                    found[i].update(np.flatnonzero(rows.max(axis=0) > 0).tolist())
        grown = before != [len(routes) for routes in found]


def _chained(law: Plan) -> set[int]:
    return {i for chain in law.chains if len(chain) > 1 for i in chain}
