"""The most probable path, exactly: of a plan's sites, and of those of a manifest."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rr_runtime.site_law import Site

Pair = tuple[int, int]  # (site index, branch)
Calls = tuple[tuple[int, tuple[frozenset[Pair], ...]], ...]  # site index, its calls: what is still open
Enclosing = Sequence[Sequence[Sequence[Pair]]]  # for every site its calls, for each the enclosing pairs

LATENT, CERTAIN = -1, -2  # an open step of a chain: may stay latent (or will), or is certain to be reached


def most_probable_of(sites: Sequence[Site]) -> tuple[int, ...]:
    """Returns the most probable path that a run of these sites reports, S routes, -1 where a site is not reached.

    Args:
        sites: those of a manifest or of a profile, in path order.
    """
    steps: dict[int | None, list[tuple[int, int]]] = {}
    for i, site in enumerate(sites):
        if site.policy.chain is not None:
            steps.setdefault(site.policy.chain, []).append((site.policy.step or 0, i))
    chains = [tuple(i for _, i in sorted(chain)) for chain in steps.values()]
    chains += [(i,) for i, site in enumerate(sites) if site.policy.chain is None]
    calls = [site.calls for site in sites]
    tables = [np.array(site.policy.probabilities, np.float64) for site in sites]
    return most_probable_path(tables, calls, chains=chains, order=_enclosing_first(calls))


def most_probable_path(
    tables: Sequence[NDArray[np.float64]],
    calls: Enclosing,
    *,
    chains: Sequence[tuple[int, ...]],
    order: Sequence[int],
) -> tuple[int, ...]:
    """Returns the most probable reported path: best-first search, component by component.

    A partial path is bounded by the most that a forward pass over each chain can keep: a fixed step keeps its
    route, an open step that is certain to be reached its best route (``max``), and a step that may stay latent
    all of its mass (``sum``; exact where it is not reached). Maxima moved inside sums only grow, so the bound
    never falls below what a completion reaches, and equals it where every open step is certain.

    Paths whose probabilities differ by less than a relative 1e-9 are tied; of those the lexicographically
    smallest in ``order`` is returned.

    Args:
        tables: the probabilities of every site, float64 [J, K].
        calls: for every site its calls.
        chains: site indices of every chain in step order; a site without a chain is one of its own.
        order: site indices such that every site comes after all that enclose its calls.
    """
    path = [-1] * len(tables)
    for component in _linked(calls, chains, order):
        for i, route in zip(component, _best_of(tables, calls, chains, component), strict=True):
            path[i] = route
    return tuple(path)


def given(rest: Calls, site: int, route: int | None) -> Calls:
    """Returns the other sites' calls once ``site`` has this route (None: it is not reached)."""
    found = []
    for i, calls in rest:
        alive = (
            call - {(site, route)}
            for call in calls
            if not any(s == site and k != route for s, k in call)
        )  # fmt: skip
        found.append((i, simplest(alive)))
    return tuple(found)


def simplest(calls: Iterable[frozenset[Pair]]) -> tuple[frozenset[Pair], ...]:
    """Returns the calls without those that another one implies."""
    distinct = set(calls)
    return tuple(sorted((c for c in distinct if not any(d < c for d in distinct)), key=sorted))


def _enclosing_first(calls: Enclosing) -> list[int]:
    """Site indices such that every site comes after all that enclose it: in site order where possible."""
    needed = [{s for call in own for s, _ in call} for own in calls]
    order: dict[int, None] = {}
    left = dict.fromkeys(range(len(calls)))
    while left:
        ready = next(i for i in left if needed[i] <= order.keys())
        order[ready] = left.pop(ready)
    return list(order)


def _linked(calls: Enclosing, chains: Sequence[tuple[int, ...]], order: Sequence[int]) -> list[list[int]]:
    """Sites linked by nesting or a chain, each group in an order with enclosing sites first."""
    groups: list[set[int]] = [set(chain) for chain in chains]
    for i, own in enumerate(calls):
        members = {i, *(s for call in own for s, _ in call)}
        touched = [g for g in groups if g & members]
        groups = [g for g in groups if not g & members] + [set().union(*touched)]
    return [[i for i in order if i in group] for group in groups]


def _best_of(
    tables: Sequence[NDArray[np.float64]], calls: Enclosing, chains: Sequence[tuple[int, ...]], component: list[int]
) -> tuple[int, ...]:
    """The routes of these sites on the most probable path."""
    inside = [chain for chain in chains if chain[0] in component]

    @cache
    def bound(chain: tuple[int, ...], states: tuple[int, ...]) -> float:
        return _log_bound([tables[i] for i in chain], states)

    start: Calls = tuple((i, simplest(frozenset(c) for c in calls[i])) for i in component)
    heap: list[tuple[float, tuple[int, ...], Calls]] = [(0.0, (), start)]
    while True:
        _, routes, open_sites = heapq.heappop(heap)
        if not open_sites:
            return routes
        (site, open_calls), *rest = open_sites
        for route in range(tables[site].shape[1]) if open_calls else (-1,):
            extended = (*routes, route)
            left = given(tuple(rest), site, route if route >= 0 else None)
            states = dict(zip(component, extended, strict=False))
            states |= {i: CERTAIN if frozenset() in c else LATENT for i, c in left}
            total = sum(bound(chain, tuple(states[i] for i in chain)) for chain in inside)
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
