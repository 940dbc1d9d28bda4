"""Which runs of a model are worth recording: the likeliest path, the fewest that take every branch, and a few seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rr_export.laws.plan import Plan
from rr_export.laws.policies import MarkovStep
from rr_export.laws.site import Pair

SEEDS = (0, 1)
PROBABLE = "most probable path"
NAMED = 3  # branches that a reason names
Route = tuple[int, int]  # a site and one of its branches


@dataclass(frozen=True)
class RunToRecord:
    """One run that is to be recorded.

    Attributes:
        why: what it is there for, in words.
        seed: the seed of its draws, or None.
        path: the path to force, or None.
    """

    why: str
    seed: int | None
    path: tuple[int, ...] | None


def runs_to_record(plan: Plan) -> list[RunToRecord]:
    """Returns the most probable path, the fewest further ones that take every branch, and the runs of two seeds."""
    if not plan.sites:
        return [RunToRecord("the model as it is", None, None)]
    told = "most probable path, branches that the input chooses as if equally likely" if plan.gates else PROBABLE
    plan = plan.evenly()
    usual = plan.most_probable()
    further = [RunToRecord(_covers(plan, new), None, path) for path, new in branch_cover(plan, usual)]
    return [RunToRecord(told, None, usual), *further, *map(run_of_seed, SEEDS)]


def run_of_seed(seed: int) -> RunToRecord:
    """Returns the run of a seed."""
    return RunToRecord(f"seed {seed}", seed, None)


def branch_cover(plan: Plan, first: Sequence[int]) -> Iterator[tuple[tuple[int, ...], list[Route]]]:
    """Yields reported paths, each with the branches that no path before takes, until all that any path takes are taken.

    Greedy and deterministic. A path starts from a branch that is not taken yet and what makes it reached; every other
    site takes the route by which most branches that are not taken yet are reached, of several the likeliest one.

    Args:
        plan: the sites.
        first: a path that is there already.
    """
    missing = dict.fromkeys(
        (i, k) for i, site in enumerate(plan.sites) if site.calls for k in range(len(site.branches))
    )
    inside: dict[int, list[int]] = {}
    for i, site in enumerate(plan.sites):
        for outer in {s for call in site.calls for s, _ in call}:
            inside.setdefault(outer, []).append(i)
    _take(missing, first)
    while missing:
        start = next(iter(missing))
        needed = _needed(plan.sites[start[0]].calls, start)
        if needed is None:  # no path takes it
            del missing[start]
            continue
        path = _filled(plan, needed, missing, inside)
        yield path, _take(missing, path)


def untaken(plan: Plan, paths: Iterable[Sequence[int]]) -> list[str]:
    """Returns the branches that none of the paths takes, though some path can, as ``site: branch``."""
    taken = {(i, k) for path in paths for i, k in enumerate(path) if k >= 0}
    return [
        _name(plan, (i, k))
        for i, site in enumerate(plan.sites)
        for k in range(len(site.branches))
        if (i, k) not in taken and _needed(site.calls, (i, k)) is not None
    ]


def _take(missing: dict[Route, None], path: Sequence[int]) -> list[Route]:
    """Returns the branches of a path that were missing; they are no more."""
    new = [(i, k) for i, k in enumerate(path) if (i, k) in missing]
    for route in new:
        del missing[route]
    return new


def _needed(calls: Sequence[Sequence[Pair]], route: Route) -> dict[int, int] | None:
    """The routes by which a site is reached and takes its branch; None where no call of it can be reached."""
    for call in calls:
        needed = {route[0]: route[1]}
        if all(needed.setdefault(site, branch) == branch for site, branch in call):
            return needed
    return None


def _filled(
    plan: Plan, needed: Mapping[int, int], missing: Mapping[Route, None], inside: Mapping[int, Sequence[int]]
) -> tuple[int, ...]:
    path = [-1] * len(plan.sites)
    before = {step: chain[number - 1] for chain in plan.chains for number, step in enumerate(chain) if number}
    for i in plan.order:
        if not plan.is_reached(i, path):
            continue
        if i in needed:
            path[i] = needed[i]
            continue
        law = _law(plan, i, path[before[i]] if i in before else -1)
        gains = [
            ((i, k) in missing) + _reached_by(plan, (i, k), path, missing, inside)
            for k in range(len(plan.sites[i].branches))
        ]
        path[i] = max(range(len(gains)), key=lambda k: (gains[k], law[k]))
    return tuple(path)


def _law(plan: Plan, i: int, last: int) -> list[float]:
    """The law of a route after the route ``last`` of the step before it (-1: not known, or there is none)."""
    policy = plan.sites[i].policy
    if isinstance(policy, MarkovStep) and last >= 0 and len(policy.table) > last:
        return [float(p) for p in policy.table[last]]
    return [float(p) for p in policy.table.mean(axis=0)]


def _reached_by(
    plan: Plan,
    route: Route,
    path: Sequence[int],
    missing: Mapping[Route, None],
    inside: Mapping[int, Sequence[int]],
) -> int:
    """How many sites inside a branch have one that is not taken yet, and can still be reached."""
    return sum(
        any((site, k) in missing for k in range(len(plan.sites[site].branches)))
        and any(route in call and all(path[s] in (-1, k) for s, k in call) for call in plan.sites[site].calls)
        for site in inside.get(route[0], ())
    )


def _covers(plan: Plan, new: Sequence[Route]) -> str:
    named = [_name(plan, route) for route in new[:NAMED]]
    more = [f"{len(new) - NAMED} more"] if len(new) > NAMED else []
    return "covers " + ", ".join(named) + (f" and {more[0]}" if more else "")


def _name(plan: Plan, route: Route) -> str:
    site = plan.sites[route[0]]
    return f"{site.name}: {site.branches[route[1]]}"
