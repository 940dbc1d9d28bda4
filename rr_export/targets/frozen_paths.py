"""Which paths a frozen target holds, and how often it takes each, so that the plan's law is kept as closely as it can.

The law of the target is its weights w. No path gets less than the plan gives it, so the total variation to the plan is
as small as these paths allow. The rest is given so that the law of every site's route is as near to the plan's as it
can be: a non-negative least-squares problem (Lawson and Hanson, Solving Least Squares Problems, 1974). Where that has
several solutions, they are drawn to how often the draws that found the paths came upon each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_runtime.draws import draws

Path_ = tuple[int, ...]
Metric = Callable[[Path_], float]

ENUMERATED = 2**14  # paths; above, candidates are drawn
TRIES = 2**16  # draws that look for different paths
PULL = 1e-3  # how much a path's own share counts beside the laws of the sites
FIRM = 1e3  # how much the sum of the weights counts beside them


@dataclass(frozen=True)
class FrozenLaw:
    """The paths of a frozen target and its law.

    Attributes:
        paths: N different reported paths.
        probabilities: float64 [N], what the plan gives them.
        weights: float64 [N], what the target gives them; they sum to 1.
        total_variation: the largest difference of the two laws over all sets of paths, in [0, 1].
        site: the site whose law differs most.
        site_variation: the total variation of the law of that site's reported route, in [0, 1].
    """

    paths: tuple[Path_, ...]
    probabilities: NDArray[np.float64]
    weights: NDArray[np.float64]
    total_variation: float
    site: str
    site_variation: float

    def keeps(self) -> NDArray[np.float32]:
        """Returns for every path with which probability a run whose own path it is takes it, float32 [N]."""
        return np.asarray(np.minimum(1.0, self.weights / self.probabilities), np.float32)

    def thresholds(self) -> NDArray[np.float32]:
        """Returns the thresholds of the choice where a run's own path is not taken, float32 [N - 1]."""
        rest = np.maximum(0.0, self.weights - self.probabilities)
        if rest.sum() <= 0.0:
            rest = self.weights
        return np.asarray(np.minimum(1.0, np.cumsum(rest)[:-1] / rest.sum()), np.float32)

    def to_json(self) -> dict[str, Any]:
        """Returns the distance to the plan's law, JSON-ready."""
        return {
            "total_variation": self.total_variation,
            "site": self.site,
            "site_variation": self.site_variation,
        }


def choose_frozen_paths(plan: Plan, count: int, *, best: Metric | None = None) -> FrozenLaw:
    """Returns ``count`` paths of the plan with their weights, fewer where the plan has fewer.

    Args:
        plan: the sites; no path of probability 0 is taken.
        count: N >= 1.
        best: take the paths for which this is largest, of all paths where there are at most 16384, else of those that
            65536 seeds draw; None: the paths that the seeds 0, 1, 2, ... draw, each once.

    Raises:
        ValueError: the count is below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"frozen: expected a number of paths >= 1, got {count!r}; pass at least 1")
    if best is not None:
        scores = {path: _score(best, path) for path in _candidates(plan)}
        paths = sorted(scores, key=lambda path: -scores[path])[:count]
        return _law_of(plan, {path: plan.probability(path) for path in paths})
    if plan.path_count() <= ENUMERATED and len(possible := _candidates(plan)) <= count:
        return _law_of(plan, {path: plan.probability(path) for path in possible})
    return _law_of(plan, _drawn(plan, count))


def _law_of(plan: Plan, shares: Mapping[Path_, float]) -> FrozenLaw:
    """Returns the law on these paths that is nearest to the plan's, and then to their shares."""
    paths = list(shares)
    probabilities = np.array([plan.probability(path) for path in paths])
    laws = [_law_of_site(plan, i) for i in range(len(plan.sites))]
    everything = bool(np.isclose(probabilities.sum(), 1.0, rtol=0, atol=1e-9))
    weights = (
        probabilities if everything else _weights(paths, probabilities, np.array(list(shares.values()), float), laws)
    )
    weights = weights / weights.sum()
    gaps = site_variations(plan, paths, weights)
    worst = int(np.argmax(gaps)) if gaps else 0
    return FrozenLaw(
        tuple(paths),
        probabilities,
        weights,
        max(0.0, 1.0 - float(np.minimum(weights, probabilities).sum())),
        plan.sites[worst].name if gaps else "",
        gaps[worst] if gaps else 0.0,
    )


def _score(best: Metric, path: Path_) -> float:
    try:
        score = float(best(path))
    except Exception as error:  # the caller's own
        raise ValueError(
            f"best: expected a number for path {list(path)}, got {type(error).__name__}: {error}; mend the metric"
        ) from error
    if math.isnan(score):
        raise ValueError(f"best: expected a number for path {list(path)}, got NaN; mend the metric")
    return score


def site_variations(plan: Plan, paths: Sequence[Path_], weights: NDArray[np.float64]) -> list[float]:
    """Returns for every site the total variation between its law in the plan and in the packaged paths, in [0, 1]."""
    laws = [_law_of_site(plan, i) for i in range(len(plan.sites))]
    return [_gap(law, [path[i] for path in paths], weights) for i, law in enumerate(laws)]


def _candidates(plan: Plan) -> list[Path_]:
    if plan.path_count() <= ENUMERATED:
        return [path for path in plan.paths() if plan.probability(path) > 0.0]
    return list(_drawn(plan, TRIES))


def _drawn(plan: Plan, count: int) -> dict[Path_, float]:
    """Returns up to ``count`` different paths that the seeds 0, 1, 2, ... draw, with how many of them drew each."""
    found: dict[Path_, float] = {}
    for seed in range(TRIES):
        if len(found) == count:
            break
        path = tuple(plan.taken(plan.routes(draws(seed, len(plan.sites)))).tolist())
        found[path] = found.get(path, 0.0) + 1.0
    return found


def _law_of_site(plan: Plan, index: int) -> dict[int, float]:
    """Returns the law of a site's reported route, -1 where it is not reached."""
    site = plan.sites[index]
    calls = [dict(call) for call in site.calls if len(dict(call)) == len(call)]
    law = {
        route: plan.probability_of_any([{**{s: [k] for s, k in call.items()}, index: [route]} for call in calls])
        for route in range(site.policy.branches)
    }
    return {**law, -1: max(0.0, 1.0 - sum(law.values()))}


def _weights(
    paths: Sequence[Path_],
    probabilities: NDArray[np.float64],
    shares: NDArray[np.float64],
    laws: Sequence[dict[int, float]],
) -> NDArray[np.float64]:
    """Returns the weights, float64 [N], none below the path's own probability.

    So the total variation is what the plan gives to all other paths: no law on these paths is nearer. What is left is
    given so that the laws of the sites come as near as they can.
    """
    from scipy.optimize import nnls  # half a second, and only here

    left = 1.0 - probabilities.sum()
    own = left * shares / shares.sum()
    rows = [([path[i] == route for path in paths], p) for i, law in enumerate(laws) for route, p in law.items()]
    ones = np.ones(len(paths))
    matrix = np.vstack([np.array([row for row, _ in rows], float), PULL * np.eye(len(paths)), FIRM * ones])
    wanted = np.concatenate([[p for _, p in rows] - matrix[: len(rows)] @ probabilities, PULL * own, [FIRM * left]])
    above, _ = nnls(matrix, wanted)
    return np.asarray(probabilities + above * (left / above.sum() if above.sum() > 0 else 0.0))


def _gap(law: dict[int, float], routes: Sequence[int], weights: NDArray[np.float64]) -> float:
    """Returns the total variation between the law of a site's route and that of the packaged paths."""
    packaged = {route: float(weights[np.array(routes) == route].sum()) for route in law}
    return sum(abs(p - packaged[route]) for route, p in law.items()) / 2
