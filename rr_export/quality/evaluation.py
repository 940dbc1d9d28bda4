"""What a metric is over the paths of a law: mean, deviation, percentiles and worst, with what is uncertain of them."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.laws.profile import Profile, profile_of
from rr_export.quality.evaluated import Evaluated
from rr_export.quality.intervals import Interval, below_least, bernstein_interval, student_interval
from rr_export.quality.judge import Metric
from rr_export.quality.path_values import PathValue, PathValues, Progress, TakenPath, open_values, weighted_mean
from rr_export.report.plain_table import plain_table
from rr_runtime.draws import SEEDS, check_seed, draws
from rr_runtime.one_line import cut_to_line
from rr_runtime.profile import Measured

MOST_PATHS = 256  # that are all evaluated; of a law with more, so many seeds are
PERCENTILES = (5, 25, 50, 75, 95)
EXACT, GIVEN, STUDENT, BERNSTEIN = "exact", "given paths", "Student's t", "empirical Bernstein"


@dataclass(frozen=True)
class Evaluation:
    """A metric over the paths of a law; more is better.

    What is random are the paths, not the data: the interval says how far the mean over other paths of the law may be
    from the one that was found, on these data. ``data_error`` is the other part.

    Attributes:
        metric: what it is called.
        plan: the sites.
        paths: every path that was evaluated, once.
        weights: the weight of each, summing to 1: its probability, or its share of the runs.
        mean: over the law.
        std: the standard deviation over the law; of runs, divided by their number less one.
        percentiles: the least value that at least so many percent of the paths do not exceed.
        worst: the path of the least value.
        runs: how many seeds were run; None where the paths of the law, or those given, are all there.
        method: ``exact`` (all paths by their probabilities), ``given paths`` (each counts alike), or how the interval
            comes: ``Student's t`` (an approximation) or ``empirical Bernstein`` (holds for every law).
        interval: of the mean, over runs; None where nothing was drawn.
        confidence: of the interval and of ``below_worst``.
        below_worst: the largest probability, at this confidence, that a path is worse than the worst; 0 where all were
            evaluated.
        data_error: the standard error of the mean where other batches of data are drawn, the paths being the same; None
            where there are fewer than two, or the metric is of whole data sets.
    """

    metric: str
    plan: Plan = field(compare=False)
    paths: tuple[PathValue, ...]
    weights: tuple[float, ...]
    mean: float
    std: float
    percentiles: Mapping[int, float]
    worst: PathValue
    runs: int | None
    method: str
    interval: Interval | None
    confidence: float
    below_worst: float
    data_error: float | None

    def __repr__(self) -> str:
        low, high = self.interval or (None, None)
        told = "" if low is None else f" ({low:.4g} to {high:.4g})"
        return cut_to_line(
            f"Evaluation({self.metric} {self.mean:.6g}{told}, std {self.std:.3g}, worst {self.worst.value:.6g}; "
            f"{len(self.paths)} paths, {self.method})"
        )

    def measured(self, costs: Costs) -> Measured:
        """Returns what a profile of this law says of itself: its place on a menu.

        Args:
            costs: of the paths of this plan.

        Raises:
            ValueError: they are costs of another plan.
        """
        shares = costs.shares(self.plan, [value.path for value in self.paths])
        return Measured(min(1.0, weighted_mean(shares.tolist(), self.weights)), self.mean, self.std, self.metric)

    def table(self) -> Table:
        """Returns the figures as a rich table."""
        table = Table(title=escape(f"{self.metric}: {len(self.paths)} paths, {self._how()}"))
        table.add_column("")
        table.add_column(escape(self.metric), justify="right")
        table.add_row("mean", f"{self.mean:.6g}")
        if self.interval is not None:
            low, high = self.interval
            table.add_row(f"mean, {self.confidence:.0%} ({self.method}, over paths)", f"{low:.6g} to {high:.6g}")
        if self.data_error is not None:
            table.add_row("mean, standard error over batches of data", f"{self.data_error:.3g}")
        table.add_row("standard deviation over paths", f"{self.std:.6g}")
        for percent, value in self.percentiles.items():
            table.add_row(f"{percent} % of paths at most", f"{value:.6g}")
        table.add_row(f"worst, path {list(self.worst.path)}", f"{self.worst.value:.6g}")
        if self.runs is not None:
            table.add_row(f"paths worse than that, {self.confidence:.0%}", f"at most {100 * self.below_worst:.2g} %")
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a JSON-ready dictionary."""
        rows = [
            {"path": list(value.path), "weight": weight, "value": value.value, "deviation": value.deviation}
            for value, weight in zip(self.paths, self.weights, strict=True)
        ]
        names = ("metric", "mean", "std", "runs", "method", "confidence", "below_worst", "data_error")
        return {
            **{"format": "rr.evaluation", "version": 1},
            **{name: getattr(self, name) for name in names},
            "interval": None if self.interval is None else list(self.interval),
            "percentiles": {str(percent): value for percent, value in self.percentiles.items()},
            "worst": {"path": list(self.worst.path), "value": self.worst.value},
            "paths": rows,
        }

    def __str__(self) -> str:
        """The table as plain text."""
        return plain_table(self.table())

    def _how(self) -> str:
        if self.runs is not None:
            return f"{self.runs} seeds"
        return "all of the law" if self.method == EXACT else self.method


def evaluate(
    subject: Any,
    data: Iterable[Any],
    metric: Metric,
    *,
    paths: Iterable[Sequence[int]] | None = None,
    runs: int | None = None,
    profile: str | Plan | None = None,
    seed: int = 0,
    bounds: Interval | None = None,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    confidence: float = 0.95,
) -> Evaluation:
    """Returns a metric over the paths of a law: exactly where it has few paths, else over those of seeds.

    Every path is evaluated once, on all of the data. Up to 256 paths are all evaluated, and mean, deviation and
    percentiles are those of the law, exactly; of a law with more, the paths of 256 seeds are.

    Args:
        subject: an ``rr_runtime.Session``, a bundle, the folder or file of one, or an eager model in evaluation mode,
            whose inputs are keyword arguments.
        data: batches ``(inputs, target)``, the inputs arrays by name; a list, or an object that yields the same batches
            every time it is gone through.
        metric: from outputs (arrays by name) and target to a number, or to one number for each row; more is better.
            A batch weighs as many rows as there are numbers; where it is one number, as the first axis of the target is
            long, or, where that has none, that of the first input. A metric of whole data sets, such as F1, has the
            attribute ``whole = True``: it is given the list of all outputs and that of all targets, once.
        paths: these paths in place of a law, each of the same weight.
        runs: the paths of so many seeds in place of all of them, at least 2.
        profile: another law: the name of a profile of the bundle, or the plan with other policies
            (``plan.with_policies``).
        seed: the first of the seeds.
        bounds: least and largest number that the metric can be. With them the interval is empirical Bernstein's, which
            holds for every law; without, Student's, an approximation.
        jobs: how many workers, -1: one for each core; None: what joblib's active configuration says, one where there is
            none.
        results: a file that keeps the value of every path; an interrupted evaluation goes on there, and other
            functions on the same subject, data and metric find them.
        progress: told ("paths", done, total).
        confidence: of the interval, in (0, 1).

    Raises:
        TypeError, ValueError: an argument cannot be, or the metric gives no number.
        SweepError: ``results`` holds those of something else.
    """
    _check(paths, runs, profile, confidence, bounds)
    check_seed(seed)
    with open_values(subject, data, metric, jobs=jobs, results=results, progress=progress) as values:
        law = None if paths is not None else law_of(values.subject, profile)
        if paths is not None:
            counts = Counter(_checked(values.subject.plan, path) for path in paths)
            if not counts:
                raise ValueError("paths: expected some, got none; leave them away for those of the law")
            weights = {path: count / counts.total() for path, count in counts.items()}
        elif isinstance(law, tuple):
            weights = {law: 1.0}
        elif runs is None and law is not None and law.path_count() <= MOST_PATHS:
            weights = {path: p for path in law.paths() if (p := law.probability(path)) > 0}
        else:
            assert law is not None
            runs = MOST_PATHS if runs is None else runs
            return _of_seeds(values, law, [(seed + i) % SEEDS for i in range(runs)], bounds, confidence)
        found = values.of(weights)
        _check_bounds(found, bounds)
        method = GIVEN if paths is not None else EXACT
        return _summed_up(values, found, list(weights.values()), method=method, confidence=confidence)


def law_of(subject: Evaluated, profile: str | Plan | None) -> Plan | TakenPath:
    """Returns the law of a profile over the sites of what is evaluated, or the path that the profile is.

    Raises:
        TypeError: it is neither a name nor a plan.
        ValueError: there is no such profile, or the law is over other sites.
    """
    if profile is None:
        return subject.plan
    if isinstance(profile, Plan):
        found = profile_of(subject.plan, profile)
    elif not isinstance(profile, str):
        raise TypeError(f"profile: expected a name or a plan, got {type(profile).__name__}; pass plan.with_policies()")
    elif profile not in subject.profiles:
        known = ", ".join(subject.profiles) or "none"
        raise ValueError(f"profile: expected one of {known}, got {profile!r}; name one of them")
    else:
        found = subject.profiles[profile]
    return _law(found)


def _law(profile: Profile) -> Plan | TakenPath:
    if profile.path is not None:
        return profile.path
    assert profile.law is not None
    return profile.law


def _check(paths: Any, runs: Any, profile: Any, confidence: float, bounds: Any) -> None:
    if paths is not None and (runs is not None or profile is not None):
        other = "runs" if runs is not None else "profile"
        raise ValueError(f"paths: expected no {other} beside them, got both; pass one of them")
    if runs is not None and (isinstance(runs, bool) or not isinstance(runs, int) or runs < 2):
        raise ValueError(f"runs: expected an integer of at least 2, got {runs!r}; one run says nothing of a law")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}; .95 is usual")
    if bounds is not None and not (len(bounds) == 2 and all(map(math.isfinite, bounds)) and bounds[0] < bounds[1]):
        raise ValueError(f"bounds: expected the least and the largest number, got {bounds}; such as (0, 1)")


def _checked(plan: Plan, path: Sequence[int]) -> TakenPath:
    found = profile_of(plan, path).path
    assert found is not None
    return found


def _of_seeds(
    values: PathValues, law: Plan, seeds: Sequence[int], bounds: Interval | None, confidence: float
) -> Evaluation:
    """The evaluation over the paths of seeds."""
    law.marginals()  # which there are none of where the input decides
    drawn = [tuple(law.taken(law.routes(draws(seed, len(law.sites)))).tolist()) for seed in seeds]
    counts = Counter(drawn)
    found = values.of(counts)
    _check_bounds(found, bounds)
    by_path = {value.path: value.value for value in found}
    sample = np.array([by_path[path] for path in drawn])
    interval = (
        student_interval(sample, confidence) if bounds is None else bernstein_interval(sample, bounds, confidence)
    )
    return _summed_up(
        values,
        found,
        [count / len(seeds) for count in counts.values()],
        method=STUDENT if bounds is None else BERNSTEIN,
        confidence=confidence,
        runs=len(seeds),
        interval=interval,
    )


def _check_bounds(found: Iterable[PathValue], bounds: Interval | None) -> None:
    for value in found if bounds is not None else ():
        for number in value.batches:
            if bounds is not None and not bounds[0] <= number <= bounds[1]:
                raise ValueError(
                    f"bounds: expected numbers in {list(bounds)}, got {number} on path {list(value.path)}; widen them"
                )


def _summed_up(
    values: PathValues,
    found: Sequence[PathValue],
    weights: Sequence[float],
    *,
    method: str,
    confidence: float,
    runs: int | None = None,
    interval: Interval | None = None,
) -> Evaluation:
    numbers = [value.value for value in found]
    mean = weighted_mean(numbers, weights)
    variance = weighted_mean([(number - mean) ** 2 for number in numbers], weights)
    variance *= 1.0 if runs is None else runs / (runs - 1)
    return Evaluation(
        metric=values.metric,
        plan=values.subject.plan,
        paths=tuple(found),
        weights=tuple(weights),
        mean=mean,
        std=math.sqrt(variance),
        percentiles=_percentiles(numbers, weights),
        worst=min(found, key=lambda value: value.value),
        runs=runs,
        method=method,
        interval=interval,
        confidence=confidence,
        below_worst=0.0 if runs is None else below_least(runs, confidence),
        data_error=_data_error(found, weights),
    )


def _percentiles(numbers: Sequence[float], weights: Sequence[float]) -> dict[int, float]:
    order = np.argsort(numbers, kind="stable")
    below = np.cumsum(np.asarray(weights)[order])
    places = [int(np.searchsorted(below, percent / 100 * below[-1] * (1 - 1e-12))) for percent in PERCENTILES]
    return {percent: float(numbers[order[place]]) for percent, place in zip(PERCENTILES, places, strict=True)}


def _data_error(found: Sequence[PathValue], weights: Sequence[float]) -> float | None:
    """The standard error of a mean over batches of unequal size, as a ratio of sums (Cochran: Sampling Techniques)."""
    rows = found[0].rows
    if len(rows) < 2 or any(value.rows != rows for value in found):
        return None
    batches = [weighted_mean(numbers, weights) for numbers in zip(*(value.batches for value in found), strict=True)]
    mean, count = weighted_mean(batches, rows), len(rows)
    squares = math.fsum((r * (b - mean)) ** 2 for r, b in zip(rows, batches, strict=True))
    return math.sqrt(squares * count / (count - 1)) / sum(rows)
