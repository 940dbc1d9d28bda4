"""Searches the paths of which none is both better and cheaper, within a number of evaluations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rr_export.laws.costs import Costs
from rr_export.laws.profile import profile_of
from rr_export.quality.front import Front
from rr_export.quality.judge import Metric
from rr_export.quality.path_values import PathValues, Progress, TakenPath, open_values
from rr_export.quality.search_methods import Explored, beam, begin, evolve, greedy
from rr_runtime.draws import check_seed

EVALUATIONS = 256
WALKS = "greedy, then beam, then evolutionary"
METHODS = ("auto", "exact", "greedy", "beam", "evolutionary")


def search(
    subject: Any,
    data: Iterable[Any],
    metric: Metric,
    costs: Costs,
    *,
    evaluations: int | None = None,
    method: str = "auto",
    seed: int = 0,
    start: Iterable[Sequence[int]] | None = None,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Front:
    """Returns the paths of which none is both better and cheaper, of those that were evaluated.

    Paths of probability 0 are among them, as they can be forced. The same arguments give the same front, however many
    workers there are, and whatever ``results`` holds already.

    Args:
        subject: as for ``evaluate``.
        data: as for ``evaluate``.
        metric: as for ``evaluate``; more is better.
        costs: of the paths.
        evaluations: how many paths may be evaluated; None: 256, or all with the method "exact".
        method: "exact": all paths. "greedy": from the dearest path to the cheapest and back, a site at a time. "beam":
            what an additive model of the quality, fitted again and again, holds for the front. "evolutionary": NSGA-II,
            whose children such a model screens. "auto": "exact" where there are no more paths than evaluations, else
            "greedy" with half of them, then "beam", and "evolutionary" with what that leaves.
        seed: of what is drawn; two searches of the same seed are the same.
        start: paths that are evaluated first.
        jobs: as for ``evaluate``.
        results: as for ``evaluate``.
        progress: told ("paths", done, expected).

    Raises:
        TypeError, ValueError: an argument cannot be, or the metric gives no number.
        SweepError: ``results`` holds those of something else.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}; name one of them")
    if not isinstance(costs, Costs):
        raise TypeError(f"costs: expected rr_export.Costs, got {type(costs).__name__}; make them of what you measured")
    if evaluations is not None and (
        isinstance(evaluations, bool) or not isinstance(evaluations, int) or evaluations < 4
    ):
        raise ValueError(f"evaluations: expected an integer of at least 4, got {evaluations!r}; 256 is a start")
    check_seed(seed)
    with open_values(subject, data, metric, jobs=jobs, results=results, progress=progress) as values:
        plan = values.subject.plan
        costs.check(plan)
        count = plan.path_count()
        most = EVALUATIONS if evaluations is None else evaluations
        if method == "exact":
            most = count if evaluations is None else most
            if most < count:
                raise ValueError(
                    f"evaluations: expected all {count} paths for the method 'exact', got {most}; take another method"
                )
        chosen = method if method != "auto" else "exact" if count <= most else WALKS
        first = _start(plan, start)
        values.expected = min(most, count)
        explored = explore(values, costs, chosen, evaluations=most, start=first, seed=seed)
        return Front(values.metric, costs.unit, chosen, tuple(explored.found.values()), count)


def explore(
    values: PathValues, costs: Costs, method: str, *, evaluations: int, start: Sequence[TakenPath] = (), seed: int = 0
) -> Explored:
    """Returns what a method finds; all arguments are checked.

    Args:
        values: of the metric.
        costs: of the paths.
        method: "exact", "greedy", "beam", "evolutionary" or ``WALKS``.
        evaluations: how many paths may be evaluated.
        start: paths that are evaluated first.
        seed: of what is drawn.
    """
    explored, random = Explored(values, costs, evaluations), np.random.default_rng(seed)
    if method == "exact":
        explored.ask(values.subject.plan.paths())
    else:
        begin(explored, start, random)
    if method in ("greedy", WALKS):
        greedy(explored, leave=explored.left // 2 if method == WALKS else 0)
    if method in ("beam", WALKS):
        beam(explored)
    if method in ("evolutionary", WALKS):
        evolve(explored, random)
    return explored


def _start(plan: Any, start: Iterable[Sequence[int]] | None) -> list[TakenPath]:
    paths = [profile_of(plan, path).path for path in start or ()]
    return [path for path in paths if path is not None]
