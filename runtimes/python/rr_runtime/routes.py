"""Draws and the asked path -> latent routes and the path taken, on the host (SPEC.md, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rr_runtime.manifest import Site

Routes = NDArray[np.int64]
NEVER = 2.0  # a threshold above every draw


class Router:
    """Decides the routes of a run, for files that do not decide themselves.

    Args:
        sites: the sites of the manifest, S of them.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = sites
        width = max((len(site.branches) - 1 for site in sites), default=0)
        self._tables = [_padded(site, width) for site in sites]
        self._first = np.array([table[0] for table in self._tables], np.float32).reshape(len(sites), width)
        self._last = np.array([len(site.branches) - 1 for site in sites], np.int64)
        self._later = _later_steps(sites)
        self._calls = [[(np.array(s, np.int64), np.array(b, np.int64)) for s, b in _calls(site)] for site in sites]
        self._flat = all(() in site.calls for site in sites)

    def latent(self, numbers: NDArray[np.float32], asked: Routes) -> Routes:
        """Returns the latent routes, int64 [S].

        Args:
            numbers: float32 [S], the draws, in [0, 1).
            asked: int64 [S], -1 where the site draws, else the route to take.
        """
        routes = (self._first <= numbers[:, None]).sum(axis=1)
        routes = np.where(asked < 0, routes, np.minimum(asked, self._last))
        for before, site in self._later:
            if asked[site] < 0:
                routes[site] = (self._tables[site][routes[before]] <= numbers[site]).sum()
        return routes

    def taken(self, latent: Routes) -> Routes:
        """Returns the path taken, int64 [S]: the latent route of every reached site, -1 elsewhere."""
        return latent if self._flat else np.where(self.reached(latent), latent, -1)

    def reached(self, routes: Routes) -> NDArray[np.bool_]:
        """Returns which sites are reached with these latent routes, or on this path taken, bool [S]."""
        return np.array([any(bool((routes[s] == b).all()) for s, b in calls) for calls in self._calls], bool)


def _padded(site: Site, width: int) -> NDArray[np.float32]:
    """Returns the thresholds of a site, float32 [J, width]; those it has not are never reached."""
    table = np.full((len(site.policy.thresholds), width), NEVER, np.float32)
    table[:, : len(site.branches) - 1] = site.policy.thresholds
    return table


def _later_steps(sites: Sequence[Site]) -> list[tuple[int, int]]:
    """Returns (index of the step before, index of the step) for the later steps of all chains, in order."""
    steps = {(s.policy.chain, s.policy.step or 0): i for i, s in enumerate(sites) if s.policy.chain is not None}
    return [
        (steps[chain, step - 1], site)
        for (chain, step), site in sorted(steps.items(), key=lambda item: item[0][1])
        if step
    ]


def _calls(site: Site) -> list[tuple[list[int], list[int]]]:
    """Returns for every call of a site the enclosing sites, and their branches."""
    return [([s for s, _ in call], [b for _, b in call]) for call in site.calls]
