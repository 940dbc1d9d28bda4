"""Draws and the asked path -> latent routes and the path taken, on the host (SPEC.md, sections 4 to 6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from rr_runtime.site_law import Site

Rows = list[list[float]]
NEVER: list[float] = []  # the thresholds of one branch, and of a gate, whose route no draw alone gives


class Router:
    """Decides the routes of a run, for files that do not decide themselves.

    It works on Python's numbers: below a hundred sites, numpy's calls cost more than what they compute.

    Args:
        sites: the sites of the manifest, S of them.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._tables: list[Rows] = [
            [np.array(row, np.float32).tolist() for row in site.policy.thresholds] for site in sites
        ]
        self._first = [table[0] if table else NEVER for table in self._tables]
        self._gates = [i for i, site in enumerate(sites) if site.policy.type == "gate"]
        self._last = [len(site.branches) - 1 for site in sites]
        self._later = later_steps(sites)
        self._calls = [site.calls for site in sites]
        self._nested = any(() not in site.calls for site in sites)

    def latent(self, numbers: Sequence[float], asked: Sequence[int] | None = None) -> list[int]:
        """Returns the latent routes, S of them; -1 at a gate that no route is asked for: the graph decides there.

        Args:
            numbers: the draws, S of them, in [0, 1).
            asked: S routes, -1 where the site draws, else the route to take; None: all draw.
        """
        routes = list(map(bisect_right, self._first, numbers))
        if asked is not None:
            routes = [
                route if wanted < 0 else min(wanted, last)
                for route, wanted, last in zip(routes, asked, self._last, strict=True)
            ]
        for site in self._gates:
            routes[site] = -1 if asked is None or asked[site] < 0 else routes[site]
        for before, site in self._later:
            if asked is None or asked[site] < 0:
                routes[site] = bisect_right(self._tables[site][routes[before]], numbers[site])
        return routes

    def taken(self, latent: list[int]) -> list[int]:
        """Returns the path taken, S routes: the latent route of every reached site, -1 elsewhere."""
        if not self._nested:
            return latent
        return [route if reached else -1 for route, reached in zip(latent, self.reached(latent), strict=True)]

    def reached(self, routes: Sequence[int]) -> list[bool]:
        """Returns which sites are reached with these latent routes, or on this path taken, S of them."""
        return [any(all(routes[s] == b for s, b in call) for call in calls) for calls in self._calls]


def later_steps(sites: Sequence[Site]) -> list[tuple[int, int]]:
    """Returns (index of the step before, index of the step) for the later steps of all chains, in order."""
    steps = {(s.policy.chain, s.policy.step or 0): i for i, s in enumerate(sites) if s.policy.chain is not None}
    return [
        (steps[chain, step - 1], site)
        for (chain, step), site in sorted(steps.items(), key=lambda item: item[0][1])
        if step
    ]
