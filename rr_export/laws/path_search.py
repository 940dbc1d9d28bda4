"""Paths of a plan that are worth a look: how many there are, the most probable one, a pairwise covering set."""

from __future__ import annotations

import heapq
import itertools
import math
import operator
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.path_fold import Algebra, Calls, all_open, fold_paths, left_given
from rr_export.laws.site import Layout, Pair

LATENT, CERTAIN = -1, -2  # an open step of a chain: may stay latent (or will), or is certain to be reached


def count_paths(plan: Layout) -> int:
    """Returns the number of reported paths: without going through independent parts together."""
    return fold_paths(plan, Algebra(1, operator.mul, sum), lambda site, route: 1)


def most_probable(plan: Layout) -> tuple[int, ...]:
    """Returns the most probable reported path: best-first search, component by component.

    A partial path is bounded by the most that a forward pass over each chain can keep: a fixed step keeps its
    route, an open step that is certain to be reached its best route (``max``), and a step that may stay latent
    all of its mass (``sum``; exact where it is not reached). Maxima moved inside sums only grow, so the bound
    never falls below what a completion reaches, and equals it where every open step is certain.

    Paths whose probabilities differ by less than a relative 1e-9 are tied; of those the lexicographically
    smallest in ``plan.order`` is returned.
    """
    path = [-1] * len(plan.sites)
    for component in _linked(plan):
        for i, route in zip(component, _best_of(plan, component), strict=True):
            path[i] = route
    return tuple(path)


def _linked(plan: Layout) -> list[list[int]]:
    """Sites linked by nesting or a chain, each group in an order with enclosing sites first."""
    groups: list[set[int]] = [set(chain) for chain in plan.chains]
    for i, site in enumerate(plan.sites):
        members = {i, *(s for call in site.calls for s, _ in call)}
        touched = [g for g in groups if g & members]
        groups = [g for g in groups if not g & members] + [set().union(*touched)]
    return [[i for i in plan.order if i in group] for group in groups]


def _best_of(plan: Layout, component: list[int]) -> tuple[int, ...]:
    """The routes of these sites on the most probable path."""
    chains = [chain for chain in plan.chains if chain[0] in component]

    @cache
    def bound(chain: tuple[int, ...], states: tuple[int, ...]) -> float:
        return _log_bound([plan.sites[i].policy.table for i in chain], states)

    start = all_open(plan, component)
    heap: list[tuple[float, tuple[int, ...], Calls]] = [(0.0, (), start)]
    while True:
        _, routes, open_sites = heapq.heappop(heap)
        if not open_sites:
            return routes
        (site, calls), *rest = open_sites
        for route in range(len(plan.sites[site].branches)) if calls else (-1,):
            extended = (*routes, route)
            left = left_given(tuple(rest), site, route if route >= 0 else None)
            states = dict(zip(component, extended, strict=False))
            states |= {i: CERTAIN if frozenset() in c else LATENT for i, c in left}
            total = sum(bound(chain, tuple(states[i] for i in chain)) for chain in chains)
            if total > -math.inf:
                heapq.heappush(heap, (round(-total, 9), extended, left))


def _log_bound(tables: Sequence[NDArray[np.float64]], states: Sequence[int]) -> float:
    """The logarithm of the most that one chain can keep; a state is a route, CERTAIN or LATENT."""
    mass, total, before = np.ones(1), 0.0, LATENT
    for table, state in zip(tables, states, strict=True):
        moved = mass[:, None] * table
        mass = moved.max(axis=0) if before == CERTAIN else moved.sum(axis=0)
        if state >= 0:
            mass = np.where(np.arange(len(mass)) == state, mass, 0.0)
        most = float(mass.max())
        if most == 0.0:
            return -math.inf
        total, mass, before = total + math.log(most), mass / most, state
    return total if before == CERTAIN else total + math.log(mass.sum())


def covering(plan: Layout, seed: int = 0) -> list[tuple[int, ...]]:
    """Returns a pairwise covering set of reported paths: greedy, deterministic for a seed.

    Every path starts from an uncovered pair and is filled site by site with the route that covers most
    uncovered pairs; ties are broken at random.
    """
    rng = np.random.default_rng(seed)
    missing = _all_pairs(plan)
    chosen: list[tuple[int, ...]] = []
    while missing:
        start = min(missing)
        path = _filled(plan, _requirements(plan, start), missing, rng)
        missing -= _pairs_of(path)
        chosen.append(path)
    if not chosen and plan.sites:
        chosen.append(_filled(plan, {}, missing, rng))
    return chosen


Couple = tuple[Pair, Pair]  # two (site, route); the same twice stands for one alone


def _pairs_of(path: Sequence[int]) -> set[Couple]:
    present = [(i, r) for i, r in enumerate(path) if r >= 0]
    return set(itertools.combinations_with_replacement(present, 2))


def _all_pairs(plan: Layout) -> set[Couple]:
    """All pairs of routes that some path has."""
    singles = [(i, r) for i, site in enumerate(plan.sites) for r in range(len(site.branches)) if site.calls]
    return {
        (a, b)
        for a, b in itertools.combinations_with_replacement(singles, 2)
        if (a[0] != b[0] or a == b) and _requirements(plan, (a, b)) is not None
    }


def _requirements(plan: Layout, couple: Couple) -> dict[int, int] | None:
    """Routes that make both sites of the couple reached with their routes; None if no path has them."""
    for calls in itertools.product(*(plan.sites[i].calls for i, _ in couple)):
        needed: dict[int, int] = {}
        if all(needed.setdefault(s, k) == k for s, k in (*couple, *calls[0], *calls[1])):
            return needed
    return None


def _filled(
    plan: Layout, needed: dict[int, int] | None, missing: set[Couple], rng: np.random.Generator
) -> tuple[int, ...]:
    path = [-1] * len(plan.sites)
    present: list[Pair] = []
    for i in plan.order:
        if not plan.is_reached(i, path):
            continue
        if needed is not None and i in needed:
            path[i] = needed[i]
        else:
            fixed = present + [(s, k) for s, k in (needed or {}).items() if path[s] < 0]
            routes = rng.permutation(len(plan.sites[i].branches)).tolist()
            path[i] = max(routes, key=lambda r: sum(tuple(sorted(((i, r), p))) in missing for p in fixed))
        present.append((i, path[i]))
    return tuple(path)
