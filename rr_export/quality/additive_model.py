"""What paths are worth by an additive model: a number for every branch that is taken, fitted to known paths.

Interactions between sites are not in it; it only proposes what to evaluate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.costs import Costs
from rr_export.laws.path_fold import Algebra, fold_paths
from rr_export.laws.plan import Plan
from rr_export.quality.path_values import PathValue, TakenPath

RIDGE = 1e-4  # of the number of paths: enough where fewer are known than there are branches

Point = tuple[float, float, tuple[tuple[int, int], ...]]  # cost, worth, the routes (site, branch) of reached sites
Points = tuple[Point, ...]
NOTHING: Points = ((0.0, 0.0, ()),)


@dataclass(frozen=True)
class AdditiveModel:
    """Ridge regression on indicators of routes (Hoerl, Kennard: Ridge Regression, 1970).

    Attributes:
        base: what every path is worth.
        branches: for every site what each of its branches adds, where the site is reached.
    """

    base: float
    branches: tuple[tuple[float, ...], ...]

    def of(self, path: Sequence[int]) -> float:
        """Returns what the model holds a path for."""
        return self.base + sum(row[route] for route, row in zip(path, self.branches, strict=True) if route >= 0)


def fit_additive(plan: Plan, values: Sequence[PathValue]) -> AdditiveModel:
    """Returns the model that is nearest to the values of some paths, one at least."""
    widths = [len(site.branches) for site in plan.sites]
    design = np.stack([_indicators(value.path, widths) for value in values])
    worth = np.array([value.value for value in values])
    centre, mean = design.mean(0), float(worth.mean())
    left = (design - centre).T @ (design - centre) + RIDGE * len(values) * np.eye(design.shape[1])
    weights = np.linalg.solve(left, (design - centre).T @ (worth - mean))
    rows = np.split(weights, np.cumsum(widths)[:-1]) if widths else []
    return AdditiveModel(mean - float(centre @ weights), tuple(tuple(row.tolist()) for row in rows))


def predicted_front(plan: Plan, model: AdditiveModel, costs: Costs, width: int) -> list[TakenPath]:
    """Returns paths that the model holds for undominated, the cheapest first.

    Partial paths of a group of sites that are dominated by others are dropped (Nemhauser, Ullmann: Discrete Dynamic
    Programming and Capital Allocation, 1969), which loses nothing for numbers that add up; of more than ``width`` of
    them, the beam keeps some evenly apart.

    Args:
        plan: the sites.
        model: what branches are worth.
        costs: what they cost.
        width: of the beam, at least 2.
    """

    def thinned(points: Iterable[Point]) -> Points:
        kept: list[Point] = []
        for point in sorted(points, key=lambda p: (p[0], -p[1], p[2])):
            if not kept or point[1] > kept[-1][1]:
                kept.append(point)
        if len(kept) > width:
            kept = [kept[i] for i in sorted(set(np.linspace(0, len(kept) - 1, width).round().astype(int).tolist()))]
        return tuple(kept)

    def times(one: Points, other: Points) -> Points:
        return thinned((a[0] + b[0], a[1] + b[1], a[2] + b[2]) for a in one for b in other)

    def plus(alternatives: Sequence[Points]) -> Points:
        return thinned(point for points in alternatives for point in points)

    front = fold_paths(
        plan,
        Algebra(NOTHING, times, plus),
        lambda i, k: ((costs.branches[i][k], model.branches[i][k], ((i, k),)),),
    )
    return [_path(len(plan.sites), routes) for _, _, routes in front]


def extreme_path(plan: Plan, costs: Costs, sign: int) -> TakenPath:
    """Returns the dearest path (sign 1) or the cheapest one (-1); of equals the first in the order of its routes."""

    def best(points: Iterable[Point]) -> Points:
        return (min(points, key=lambda p: (-sign * p[0], p[2])),)

    ((_, _, routes),) = fold_paths(
        plan,
        Algebra(
            NOTHING,
            lambda one, other: best((a[0] + b[0], 0.0, a[2] + b[2]) for a in one for b in other),
            lambda alternatives: best(point for points in alternatives for point in points),
        ),
        lambda i, k: ((costs.branches[i][k], 0.0, ((i, k),)),),
    )
    return _path(len(plan.sites), routes)


def _indicators(path: TakenPath, widths: Sequence[int]) -> NDArray[np.float64]:
    return np.concatenate(
        [np.arange(width) == route for route, width in zip(path, widths, strict=True)] or [np.zeros(0)]
    ).astype(np.float64)


def _path(sites: int, routes: Iterable[tuple[int, int]]) -> TakenPath:
    path = [-1] * sites
    for site, route in routes:
        path[site] = route
    return tuple(path)
