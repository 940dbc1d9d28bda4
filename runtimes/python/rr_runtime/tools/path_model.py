"""What any path should take, by a base and one cost for every branch, and how far that is from what paths take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.routes import Router
from rr_runtime.site_law import Site

HELD_OUT = 12  # paths on which the costs are judged
MOST_FITTED = 48  # random paths, beside those by which branches are timed, to which the costs are fitted
TRIES = 20  # random paths for each that is wanted: those that are timed already are left out
Path = tuple[int, ...]


def random_paths(sites: Sequence[Site], timed: Collection[Path], *, seed: int = 0) -> tuple[list[Path], list[Path]]:
    """Returns random paths to judge costs on, and others to fit them to: routes drawn alike, whatever their law.

    The first are HELD_OUT, the others as many as there are costs, at most MOST_FITTED; fewer where there are no more.

    Args:
        sites: the sites.
        timed: routes of paths that are timed anyway; those of sites that are not reached make no difference.
        seed: of numpy's generator.
    """
    router, draw = Router(sites), np.random.default_rng(seed)
    wanted = HELD_OUT + min(MOST_FITTED, sum(len(site.branches) - 1 for site in sites))
    known = {tuple(router.taken(list(routes))) for routes in timed}
    found: dict[Path, Path] = {}
    for _ in range(TRIES * wanted):
        routes = [int(draw.integers(len(site.branches))) for site in sites]
        taken = tuple(router.taken(routes))
        if taken not in known and len(found) < wanted:
            found.setdefault(taken, tuple(routes))
    paths = list(found.values())
    return paths[:HELD_OUT], paths[HELD_OUT:]


class PathModel:
    """What a path takes: a base, and for each reached site what its branch takes; none of them below 0.

    Fitted by least squares of relative errors. Differences around one path alone say less: where branches share caches,
    what one of them saves depends on how many others run.

    Args:
        sites: the sites.
        measured: milliseconds by path, S routes each; every branch must be taken by some where its site is reached.
    """

    def __init__(self, sites: Sequence[Site], measured: Mapping[Path, float]) -> None:
        self._sites, self._router = sites, Router(sites)
        self._columns = [(i, k) for i, site in enumerate(sites) for k in range(len(site.branches))]
        rows, took = np.array([self._row(path) for path in measured]), np.array([*measured.values()])
        self._costs = least_squares_above_zero(rows / took[:, None], np.ones(len(took)))

    def predict(self, path: Path) -> float:
        """Returns the milliseconds of a path, S routes, reached or not."""
        return float(np.dot(self._row(path), self._costs))

    def judge(self, measured: Mapping[Path, float]) -> dict[str, Any]:
        """Returns the costs, and how far predictions are from what was measured, relative to that (JSON-ready).

        Args:
            measured: milliseconds by path, of paths that the costs were not fitted to.
        """
        predicted = {path: self.predict(path) for path in measured}
        errors = [abs(predicted[path] - took) / took for path, took in measured.items()]
        return {
            "base_ms": float(self._costs[0]),
            "branches": [
                {"site": self._sites[i].name, "branch": self._sites[i].branches[k], "cost_ms": cost}
                for (i, k), cost in zip(self._columns, self._costs[1:].tolist(), strict=True)
            ],
            "paths": len(errors),
            "error_mean": float(np.mean(errors)) if errors else None,
            "error_worst": max(errors) if errors else None,
            "held_out": [
                {"path": list(path), "predicted_ms": predicted[path], "measured_ms": took}
                for path, took in measured.items()
            ],
        }

    def _row(self, path: Path) -> list[float]:
        """1 for the base, and for every branch whether the path takes it."""
        reached = self._router.reached(path)
        return [1.0, *(float(reached[i] and path[i] == k) for i, k in self._columns)]


def least_squares_above_zero(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns x >= 0, float64 [n], of least ``|a x - b|``: the active set method of Lawson and Hanson.

    (Solving Least Squares Problems, 1974, chapter 23.)

    Args:
        a: float64 [m, n].
        b: float64 [m].
    """
    x, free = np.zeros(a.shape[1]), np.zeros(a.shape[1], bool)
    for _ in range(3 * a.shape[1]):
        slopes = np.where(free, -np.inf, a.T @ (b - a @ x))
        if slopes.max() <= 1e-10 * np.abs(a.T @ b).max():
            break
        free[int(slopes.argmax())] = True
        while True:
            wanted = np.zeros_like(x)
            wanted[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            below = free & (wanted <= 0)
            if not below.any():
                break
            x += (wanted - x) * np.min(x[below] / (x[below] - wanted[below]))
            free &= x > 1e-15 * x.max()
            x[~free] = 0.0
        x = wanted
    return x
