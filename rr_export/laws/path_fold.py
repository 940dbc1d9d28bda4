"""Sums over all paths of a plan, of whatever adds and multiplies: their number, the dearest one, the law of a cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from rr_export.laws.site import Layout, Pair
from rr_runtime.most_probable import Calls, given, simplest

T = TypeVar("T")

DEEP = 64  # sites of a part, above which it is split in its middle, so that no recursion is deep


@dataclass(frozen=True)
class Algebra(Generic[T]):
    """What is folded over paths (a semiring; Goodman, Semiring Parsing, 1999).

    Attributes:
        one: the value of no site.
        times: the value of parts that do not depend on each other.
        plus: the value of alternatives, one or more.
    """

    one: T
    times: Callable[[T, T], T]
    plus: Callable[[Sequence[T]], T]


def fold_paths(
    plan: Layout,
    algebra: Algebra[T],
    branch: Callable[[int, int], T],
    chance: Callable[[int, int, int], T] | None = None,
) -> T:
    """Returns the sum over all reported paths of the product over their reached sites of what a branch is worth.

    Sites are split on one after the other, and what no nesting and no chain links any more is folded by itself, once
    for all paths on which the same is left of it.

    Args:
        plan: the sites.
        algebra: what is folded.
        branch: what route k of site i is worth where it is reached, (i, k) -> value.
        chance: what an entry of a policy's table is worth, (i, row, k) -> value, which is a factor of all paths that
            use it: of a site outside chains, and of a chain whose sites are all reached together, where it is
            reached; of other chains always, and then their latent routes are summed over. None: every reported path
            counts alike.
    """
    chained = {i: chain for chain in plan.chains for i in chain if len(chain) > 1} if chance else {}
    latent = {i for chain in plan.chains if not reached_together(plan, chain) for i in chain} & chained.keys()

    @cache
    def fold(left: Calls, known: tuple[Pair, ...]) -> T:
        total = algebra.one
        for part in _parts(left, chained):
            total = algebra.times(total, split(part, _beside(part, known, chained)))
        return total

    @cache
    def split(part: Calls, known: tuple[Pair, ...]) -> T:
        ready = [entry for entry in part if frozenset() in entry[1] or not entry[1]]
        site, calls = ready[len(ready) // 2 if len(part) > DEEP else 0]
        rest = tuple(entry for entry in part if entry[0] != site)
        if not calls and site not in latent:
            return fold(given(rest, site, None), known)
        found = []
        for k in range(len(plan.sites[site].branches)):
            beside = (*known, (site, k)) if site in chained else known
            value = fold(given(rest, site, k if calls else None), beside)
            if calls:
                value = algebra.times(branch(site, k), value)
            if chance is not None:
                for entry in _new_entries(site, k, dict(known), chained):
                    value = algebra.times(chance(*entry), value)
            found.append(value)
        return algebra.plus(found)

    return fold(all_open(plan, plan.order), ())


def reached_together(plan: Layout, chain: Sequence[int]) -> bool:
    """Returns whether all sites of a chain are reached wherever one of them is."""
    return len({calls for _, calls in all_open(plan, chain)}) == 1


def all_open(plan: Layout, sites: Sequence[int]) -> Calls:
    """Returns these sites with their calls, while no route is known."""
    return tuple((i, simplest(frozenset(c) for c in plan.sites[i].calls)) for i in sites)


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


def _new_entries(
    site: int, route: int, known: dict[int, int], chained: dict[int, tuple[int, ...]]
) -> Iterator[tuple[int, int, int]]:
    """The entries (site, row, route) of tables that are known with this route, and were not before."""
    chain = chained.get(site, (site,))
    t = chain.index(site)
    if t == 0:
        yield site, 0, route
    elif chain[t - 1] in known:
        yield site, known[chain[t - 1]], route
    if t + 1 < len(chain) and chain[t + 1] in known:
        yield chain[t + 1], route, known[chain[t + 1]]
