"""Paths of a plan that are worth a look: how many there are, the most probable one, a pairwise covering set."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

import numpy as np

from rr_export.laws.path_fold import Algebra, fold_paths
from rr_export.laws.site import Layout, Pair
from rr_runtime.most_probable import most_probable_path


def count_paths(plan: Layout) -> int:
    """Returns the number of reported paths: without going through independent parts together."""
    return fold_paths(plan, Algebra(1, operator.mul, sum), lambda site, route: 1)


def most_probable(plan: Layout) -> tuple[int, ...]:
    """Returns the most probable reported path, of equally probable ones the first in ``plan.order``."""
    tables = [site.policy.table for site in plan.sites]
    return most_probable_path(tables, [site.calls for site in plan.sites], chains=plan.chains, order=plan.order)


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
