"""Which paths are worth timing: the most probable routes, and from there one branch changed at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rr_runtime.site_law import Site

Path = tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """One site, and a path for each of its branches; the paths differ at this site only, and all reach it.

    Attributes:
        site: the site's index.
        usual: its route on the path that all start from.
        paths: S routes for each branch.
    """

    site: int
    usual: int
    paths: tuple[Path, ...]


def most_probable_routes(sites: Sequence[Site]) -> Path:
    """Returns a route for every site, reached or not, of highest joint probability (Viterbi on each chain).

    At a gate, where the input decides, it is the last one.
    """
    routes = [
        int(np.argmax(site.policy.probabilities[0])) if site.policy.probabilities else len(site.branches) - 1
        for site in sites
    ]
    chains = {site.policy.chain for site in sites if site.policy.chain is not None}
    for chain in chains:
        steps = sorted((s.policy.step or 0, i) for i, s in enumerate(sites) if s.policy.chain == chain)
        best = np.array(sites[steps[0][1]].policy.probabilities[0])
        back = []
        for _, i in steps[1:]:
            joint = best[:, None] * np.array(sites[i].policy.probabilities)
            back.append(joint.argmax(axis=0))
            best = joint.max(axis=0)
        route = int(best.argmax())
        for (_, i), before in zip(reversed(steps), [*reversed(back), None], strict=True):
            routes[i] = route
            route = route if before is None else int(before[route])
    return tuple(routes)


def choices(sites: Sequence[Site], base: Path) -> list[Choice]:
    """Returns for every site the paths that differ from ``base`` there; enclosing sites take the branches it needs.

    A site that ``base`` does not reach is reached through its first call.
    """
    found = []
    for i, site in enumerate(sites):
        routes = list(base)
        if not any(all(base[s] == b for s, b in call) for call in site.calls) and site.calls:
            for s, b in site.calls[0]:
                routes[s] = b
        paths = tuple((*routes[:i], k, *routes[i + 1 :]) for k in range(len(site.branches)))
        found.append(Choice(i, routes[i], paths))
    return found
