"""Small random plans: independent sites, chains, nesting in trees, and nesting of any kind."""

from __future__ import annotations

import itertools

import numpy as np

import rr_export as rr
from rr_export.laws.policies import Policy
from rr_export.laws.site import Pair

KINDS = ("independent", "chain", "tree", "tree of chains", "any", "any chains")


def random_plan(kind: str, rng: np.random.Generator, *, sites: int = 4) -> rr.Plan:
    """Returns a plan of a kind of KINDS whose sites have two or three branches."""
    sizes = [int(k) for k in rng.integers(2, 4, sites)]
    calls: list[tuple[tuple[Pair, ...], ...]] = [((),) for _ in sizes]
    if kind in ("tree", "tree of chains", "any", "any chains"):
        for i in range(1, sites):
            if rng.random() < 0.75:
                found = [_call_inside(calls, sizes, i, rng) for _ in range(1 if "tree" in kind else 2)]
                calls[i] = tuple(dict.fromkeys(found))
    policies: list[Policy] = [rr.Categorical(_row(k, rng)) for k in sizes]
    places: dict[object, list[int]] = {}
    for i in range(sites):
        places.setdefault(calls[i] if kind == "tree of chains" else "all", []).append(i)
    for members in places.values() if "chain" in kind else ():
        tables = [[_row(sizes[j], rng) for _ in range(sizes[i])] for i, j in itertools.pairwise(members)]
        chain = rr.Markov(_row(sizes[members[0]], rng), tables)
        for t, i in enumerate(members):
            policies[i] = chain.step(t)
    names = [tuple("abc"[:k]) for k in sizes]
    return rr.Plan([rr.Site(f"s{i}", names[i], policies[i], calls=calls[i]) for i in range(sites)])


def random_costs(plan: rr.Plan, rng: np.random.Generator) -> rr.Costs:
    """Returns costs of which some are negative, while every path costs something."""
    rows = tuple(tuple(rng.normal(1, 1, len(site.branches)).tolist()) for site in plan.sites)
    base = sum(max(0.0, -min(row)) for row in rows) + rng.random() + 0.1
    return rr.Costs("ms", float(base), rows)


def _row(k: int, rng: np.random.Generator) -> list[float]:
    row = rng.random(k) + 0.05
    return (row / row.sum()).tolist()  # type: ignore[no-any-return]


def _call_inside(
    calls: list[tuple[tuple[Pair, ...], ...]], sizes: list[int], i: int, rng: np.random.Generator
) -> tuple[Pair, ...]:
    """A call inside a branch of an earlier site, which names all that encloses it."""
    outer = int(rng.integers(i))
    around = calls[outer][int(rng.integers(len(calls[outer])))]
    return (*around, (outer, int(rng.integers(sizes[outer]))))
