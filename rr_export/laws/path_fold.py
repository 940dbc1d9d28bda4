"""Sums over all paths of a plan, of whatever adds and multiplies: their number, the dearest one, the law of a cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from rr_export.laws.site import Layout, Pair

T = TypeVar("T")
Calls = tuple[tuple[int, tuple[frozenset[Pair], ...]], ...]  # site index, its calls: what is still open


@dataclass(frozen=True)
class Algebra(Generic[T]):
    """What is folded over paths (a semiring; Goodman, Semiring Parsing, 1999).

    Attributes:
        one: the value of no site.
        times: the value of parts that do not depend on each other.
        plus: the value of alternatives, one or more.
        scale: the value of an alternative of this probability; None: all alternatives count alike.
    """

    one: T
    times: Callable[[T, T], T]
    plus: Callable[[Sequence[T]], T]
    scale: Callable[[float, T], T] | None = None


def fold_paths(plan: Layout, algebra: Algebra[T], branch: Callable[[int, int], T]) -> T:
    """Returns the sum over all reported paths of the product over their reached sites of what a branch is worth.

    Sites are split on one after the other, and what no nesting and no chain links any more is folded by itself, once
    for all paths on which the same is left of it. Where alternatives are scaled, latent routes of a chain are summed
    over, and a site outside chains that is not reached counts once; else every reported path counts once.

    Args:
        plan: the sites.
        algebra: what is folded.
        branch: what a route k of a reached site i is worth, (i, k) -> value.
    """
    chained = {i: chain for chain in plan.chains for i in chain if len(chain) > 1} if algebra.scale else {}

    @cache
    def fold(left: Calls, known: tuple[Pair, ...]) -> T:
        total = algebra.one
        for part in _parts(left, chained):
            total = algebra.times(total, split(part, _beside(part, known, chained)))
        return total

    @cache
    def split(part: Calls, known: tuple[Pair, ...]) -> T:
        ready = [entry for entry in part if frozenset() in entry[1] or not entry[1]]
        site, calls = ready[len(ready) // 2]  # the middle of a chain: its halves are then apart
        rest = tuple(entry for entry in part if entry[0] != site)
        if not calls and site not in chained:
            return fold(left_given(rest, site, None), known)
        found = []
        for k in range(len(plan.sites[site].branches)):
            chance = _chance(plan, site, k, dict(known), chained) if algebra.scale else 1.0
            if chance == 0.0:
                continue
            value = fold(left_given(rest, site, k if calls else None), (*known, (site, k)))
            value = algebra.times(branch(site, k), value) if calls else value
            found.append(algebra.scale(chance, value) if algebra.scale else value)
        return algebra.plus(found)

    return fold(all_open(plan, plan.order), ())


def all_open(plan: Layout, sites: Sequence[int]) -> Calls:
    """Returns these sites with their calls, while no route is known."""
    return tuple((i, _simplest(frozenset(c) for c in plan.sites[i].calls)) for i in sites)


def left_given(rest: Calls, site: int, route: int | None) -> Calls:
    """Returns the other sites' calls once ``site`` has this route (None: it is not reached)."""
    found = []
    for i, calls in rest:
        alive = (
            call - {(site, route)}
            for call in calls
            if not any(s == site and k != route for s, k in call)
        )  # fmt: skip
        found.append((i, _simplest(alive)))
    return tuple(found)


def _simplest(calls: Iterable[frozenset[Pair]]) -> tuple[frozenset[Pair], ...]:
    """The calls without those that another one implies."""
    distinct = set(calls)
    return tuple(sorted((c for c in distinct if not any(d < c for d in distinct)), key=sorted))


def _neighbours(site: int, chained: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    """The steps before and after a site in its chain."""
    chain = chained.get(site, (site,))
    t = chain.index(site)
    return (*chain[max(0, t - 1) : t], *chain[t + 1 : t + 2])


def _parts(sites: Calls, chained: dict[int, tuple[int, ...]]) -> list[Calls]:
    """Groups of sites that no open call and no chain links."""
    groups: list[tuple[set[int], list[tuple[int, tuple[frozenset[Pair], ...]]]]] = []
    left = {i for i, _ in sites}
    for i, calls in sites:
        members = {i, *(s for call in calls for s, _ in call), *(left & {*_neighbours(i, chained)})}
        entry = [(i, calls)]
        for group in [g for g in groups if g[0] & members]:
            groups.remove(group)
            members |= group[0]
            entry = group[1] + entry
        groups.append((members, entry))
    return [tuple(entry) for _, entry in groups]


def _beside(part: Calls, known: tuple[Pair, ...], chained: dict[int, tuple[int, ...]]) -> tuple[Pair, ...]:
    """The known routes that a site of this part has beside it in its chain."""
    wanted = {n for i, _ in part for n in _neighbours(i, chained)}
    return tuple(sorted(pair for pair in known if pair[0] in wanted))


def _chance(plan: Layout, site: int, route: int, known: dict[int, int], chained: dict[int, tuple[int, ...]]) -> float:
    """The factors of a path's probability that are known with this route, and were not before."""
    chain = chained.get(site, (site,))
    t = chain.index(site)
    chance = 1.0
    if t == 0:
        chance *= float(plan.sites[site].policy.table[0, route])
    elif chain[t - 1] in known:
        chance *= float(plan.sites[site].policy.table[known[chain[t - 1]], route])
    if t + 1 < len(chain) and chain[t + 1] in known:
        chance *= float(plan.sites[chain[t + 1]].policy.table[route, known[chain[t + 1]]])
    return chance
