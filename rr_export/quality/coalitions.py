"""Sites of a path as players: what a path is worth where some of its sites keep their routes and the others do not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.quality.path_values import TakenPath
from rr_runtime.draws import draws

MOST_PLAYERS = 12  # of a game that is worked out exactly
MOST_TERMS = 1 << 24

Value = Callable[[Iterable[TakenPath]], NDArray[np.float64]]


@dataclass(frozen=True)
class SiteGame:
    """Players are the sites that are reached on a path.

    A coalition is worth the metric where its sites have their routes of the path, by force, and the others what the
    baseline says.

    Attributes:
        plan: the sites.
        path: the path, S routes.
        baseline: a route for every site, S of them; None: the others draw by the law of the plan, later steps of a
            chain after the forced routes, and a coalition is worth the mean.
    """

    plan: Plan
    path: TakenPath
    baseline: tuple[int, ...] | None

    @property
    def players(self) -> list[int]:
        """The sites that play, by their indices."""
        return [i for i, route in enumerate(self.path) if route >= 0]

    @property
    def is_small(self) -> bool:
        """Whether it can be worked out exactly."""
        terms = 1 if self.baseline is not None else math.prod(len(site.branches) for site in self.plan.sites)
        return len(self.players) <= MOST_PLAYERS and terms << len(self.players) <= MOST_TERMS

    def exact(self, value: Value) -> NDArray[np.float64]:
        """Returns the worth of every coalition, float64 [2^n], from that of every path that takes part."""
        coalitions = [self._forced(mask) for mask in range(1 << len(self.players))]
        if self.baseline is not None:
            return value(self._beside_baseline(forced) for forced in coalitions)
        latents = np.array(list(itertools.product(*(range(len(site.branches)) for site in self.plan.sites))))
        worth = value(_as_path(self.plan.taken(latent)) for latent in latents)
        chances, agrees = self._chances(latents), latents == np.array(self.path)
        return np.array([np.where(np.array(forced) >= 0, agrees, chances).prod(1) @ worth for forced in coalitions])

    def contributions(self, value: Value, permutations: int, seed: int) -> tuple[NDArray[np.float64], float]:
        """Returns what every player adds where it comes after others in random orders, float64 [permutations, n].

        Castro, Gomez, Tejada: Polynomial Calculation of the Shapley Value Based on Sampling, 2009; where the others
        draw, each order has draws of its own, those of the seeds ``seed``, ``seed + 1``, .... Also returns the mean of
        what they begin with.
        """
        random, players = np.random.default_rng(seed), self.players
        orders = [random.permutation(len(players)) for _ in range(permutations)]
        paths: list[TakenPath] = []
        for number, order in enumerate(orders):
            mask = 0
            for player in (None, *order.tolist()):
                mask |= 0 if player is None else 1 << player
                forced = self._forced(mask)
                paths.append(
                    self._beside_draws(forced, seed + number)
                    if self.baseline is None
                    else self._beside_baseline(forced)
                )
        worth = value(paths).reshape(permutations, len(players) + 1)
        found = np.zeros((permutations, len(players)))
        for row, order, gains in zip(found, orders, np.diff(worth, axis=1), strict=True):
            row[order] = gains
        return found, float(worth[:, 0].mean())

    def _forced(self, mask: int) -> list[int]:
        """The routes of a coalition's sites, -1 for the others."""
        kept = {site for bit, site in enumerate(self.players) if mask >> bit & 1}
        return [route if i in kept else -1 for i, route in enumerate(self.path)]

    def _beside_baseline(self, forced: Sequence[int]) -> TakenPath:
        assert self.baseline is not None
        routes = [base if route < 0 else route for route, base in zip(forced, self.baseline, strict=True)]
        return _as_path(self.plan.taken(routes))

    def _beside_draws(self, forced: Sequence[int], seed: int) -> TakenPath:
        return _as_path(self.plan.taken(self.plan.routes(draws(seed, len(forced)), forced)))

    def _chances(self, latents: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probability of every route after those before it in its chain, float64 [latents, S]."""
        found = np.ones(latents.shape)
        for chain in self.plan.chains:
            before = np.zeros(len(latents), np.int64)
            for site in chain:
                found[:, site] = self.plan.sites[site].policy.table[before, latents[:, site]]
                before = latents[:, site]
        return found


def _as_path(path: NDArray[np.int64]) -> TakenPath:
    return tuple(path.tolist())
