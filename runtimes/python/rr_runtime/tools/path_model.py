"""What any path should take by what its branches cost, and how far that is from what held-out paths take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from rr_runtime.routes import Router
from rr_runtime.site_law import Site

HELD_OUT = 12  # paths on which the model is judged
TRIES = 20 * HELD_OUT  # random paths, of which those that are timed already are left out
Path = tuple[int, ...]


def held_out_paths(sites: Sequence[Site], timed: Collection[Path], *, seed: int = 0) -> list[Path]:
    """Returns random paths, at most HELD_OUT, on which no branch was timed: routes drawn alike, whatever their law.

    Args:
        sites: the sites.
        timed: routes by which branches are timed; those of sites that are not reached make no difference.
        seed: of numpy's generator.
    """
    router, draw = Router(sites), np.random.default_rng(seed)
    known = {tuple(router.taken(list(routes))) for routes in timed}
    found: dict[Path, Path] = {}
    for _ in range(TRIES):
        routes = [int(draw.integers(len(site.branches))) for site in sites]
        taken = tuple(router.taken(routes))
        if taken not in known:
            found.setdefault(taken, tuple(routes))
        if len(found) == HELD_OUT:
            break
    return list(found.values())


def predicted_ms(sites: Sequence[Site], routes: Path, base: float, costs: Mapping[tuple[int, int], float]) -> float:
    """Returns the milliseconds of a path: the base, and what the branches of its reached sites cost more or less.

    Args:
        sites: the sites.
        routes: a route for every site, reached or not.
        base: what the path takes on which no branch costs anything.
        costs: milliseconds by (site, branch); 0 where there is none.
    """
    reached = Router(sites).reached(routes)
    return base + sum(costs.get((i, k), 0.0) for i, k in enumerate(routes) if reached[i])


def judged(base: float, predicted: Mapping[Path, float], measured: Mapping[Path, float]) -> dict[str, Any]:
    """Returns how far predictions are from what was measured, relative to that (JSON-ready).

    Args:
        base: what the path takes on which no branch costs anything, in milliseconds.
        predicted: milliseconds by path.
        measured: milliseconds by path, of the same paths.
    """
    errors = [abs(predicted[path] - took) / took for path, took in measured.items()]
    rows = [
        {"path": list(path), "predicted_ms": predicted[path], "measured_ms": took} for path, took in measured.items()
    ]
    return {
        "base_ms": base,
        "paths": len(errors),
        "error_mean": float(np.mean(errors)) if errors else None,
        "error_worst": max(errors) if errors else None,
        "held_out": rows,
    }
