"""Values of a metric on paths: each path is evaluated once, whoever asks for it, here or in other processes."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from rr_export.bundle.atomic_write import scratch_folder
from rr_export.content_digest import content_digest
from rr_export.parity.data_check import PARTS
from rr_export.parity.open_once import open_once
from rr_export.quality.evaluated import Evaluated, opened
from rr_export.quality.judge import Judge, Metric, is_whole, judge_of, metric_name
from rr_export.sweep import Task, sweep, workers
from rr_runtime.one_line import cut_to_line

STATE = "subject.pickle"
TakenPath = tuple[int, ...]  # S routes, -1 where a site is not reached
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PathValue:
    """What a metric says of one path.

    Attributes:
        path: the path taken, S routes.
        value: the mean of the metric over all rows of the data.
        deviation: the standard deviation of the metric over the batches, weighted by their rows; None where it is of
            whole data sets, or there is one batch.
        batches: the metric of every batch.
        rows: how many rows every batch counts.
    """

    path: TakenPath
    value: float
    deviation: float | None
    batches: tuple[float, ...]
    rows: tuple[int, ...]

    def __repr__(self) -> str:
        spread = "" if self.deviation is None else f" +- {self.deviation:.3g} over {len(self.batches)} batches"
        return cut_to_line(f"PathValue({self.value:.6g}{spread}, path {list(self.path)})")


class PathValues:
    """The values of a metric on the paths of one subject, as far as they are known.

    Attributes:
        subject: what takes the paths.
        metric: what the metric is called.
        expected: how many paths there will be in all, for whoever is told of the progress.
    """

    def __init__(
        self, subject: Evaluated, metric: str, evaluate: Callable[[Sequence[TakenPath], Callable[[int], None]], Any],
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.subject, self.metric, self.expected = subject, metric, 0
        self._evaluate, self._progress = evaluate, progress
        self._known: dict[TakenPath, PathValue] = {}

    @property
    def count(self) -> int:
        """How many paths are known."""
        return len(self._known)

    def knows(self, path: TakenPath) -> bool:
        """Tells whether a path was asked for before."""
        return path in self._known

    def of(self, paths: Iterable[Sequence[int]]) -> list[PathValue]:
        """Returns the values of some paths, in their order; those that are not known are evaluated, each once."""
        asked = [tuple(int(route) for route in path) for path in paths]
        missing = [path for path in dict.fromkeys(asked) if path not in self._known]
        before = self.count
        self.expected = max(self.expected, before + len(missing))
        if missing:
            self._known |= self._evaluate(missing, lambda done: self._tell(before + done))
        return [self._known[path] for path in asked]

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress("paths", done, self.expected)


@dataclass(frozen=True)
class PathWork:
    """Evaluates a path in this process."""

    subject: Evaluated
    judge: Judge

    def __call__(self, path: TakenPath) -> dict[str, Any]:
        """Returns the metric's numbers on a path, JSON-ready."""
        return self.judge(lambda inputs: self.subject.outputs(path, inputs))


@dataclass(frozen=True)
class PathWorker:
    """Evaluates a path in whatever process it is called, which opens the subject once.

    Attributes:
        state: the file that holds what opens it, and the judge.
    """

    state: Path

    def __call__(self, path: TakenPath) -> dict[str, Any]:
        """Returns the metric's numbers on a path, JSON-ready."""
        with redirect_stdout(sys.stderr):  # what the user's code prints is no part of what the caller does
            return _opened(self.state)(path)


@contextmanager
def open_values(
    subject: Any,
    data: Iterable[Any],
    metric: Metric,
    *,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[PathValues]:
    """Yields the values of a metric on the paths of a subject, of which none is evaluated yet.

    Args:
        subject: a session, a bundle, the folder or file of one, or an eager model.
        data: batches ``(inputs, target)``, the same every time.
        metric: from the outputs of a batch and its target to a number, or one for each row.
        jobs: how many workers, as for ``rr_export.sweep``.
        results: a file that keeps the value of every path as it comes; what it holds is not evaluated again, whoever
            asks. It is one of this subject, these data and this metric.
        progress: told ("paths", done, expected).

    Raises:
        TypeError, ValueError: an argument cannot be.
        SweepError: the file holds results of something else.
    """
    judge, example = judge_of(data, metric)
    several = workers(jobs) > 1
    if results is not None and (Path(results).is_dir() or not Path(results).absolute().parent.is_dir()):
        raise ValueError(
            f"results: expected a file in a folder that is there, got {os.fspath(results)!r}; name another"
        )
    with ExitStack() as stack:
        runs = stack.enter_context(opened(subject, example))
        work: Callable[[TakenPath], Any] = PathWork(runs, judge)
        if several:
            beside = Path(gettempdir()) / "rr-quality" if results is None else Path(results)
            work = _written(stack.enter_context(scratch_folder(beside)) / STATE, runs.opener(), judge)
        of = "" if results is None else _of(runs, judge)

        def evaluate(paths: Sequence[TakenPath], tell: Callable[[int], None]) -> dict[TakenPath, PathValue]:
            keys = {",".join(map(str, path)): path for path in paths}
            tasks = [Task(key, path) for key, path in keys.items()]
            told = sweep(work, tasks, jobs=jobs if several else 1, results=results, of=of, progress=tell)
            return {keys[key]: _path_value(keys[key], row) for key, row in told}

        yield PathValues(runs, metric_name(metric), evaluate, progress)


def _of(runs: Evaluated, judge: Judge) -> str:
    """What results are of: all that decides on them but the path."""
    versions = ", ".join(f"{part} {version(part)}" for part in PARTS)
    users = getattr(judge.metric, "users_function", judge.metric)  # a command calls it by way of its own
    metric = f"{metric_name(judge.metric)} {content_digest(users)}{' (whole)' if is_whole(judge.metric) else ''}"
    return f"values of paths: {runs.digest()}; metric {metric}; data {judge.digest}; {versions}"


def _written(state: Path, opener: Callable[[], Evaluated], judge: Judge) -> PathWorker:
    import cloudpickle

    state.write_bytes(cloudpickle.dumps([*sys.path, os.getcwd()]) + cloudpickle.dumps((opener, judge)))
    return PathWorker(state.resolve())


@open_once
def _opened(state: Path) -> PathWork:
    import cloudpickle

    with state.open("rb") as stream:
        sys.path += [place for place in cloudpickle.load(stream) if place not in sys.path]
        opener, judge = cloudpickle.load(stream)
    return PathWork(opener(), judge)


def _path_value(path: TakenPath, told: dict[str, Any]) -> PathValue:
    values, rows = tuple(map(float, told["values"])), tuple(map(int, told["rows"]))
    mean = weighted_mean(values, rows)
    deviation = math.sqrt(weighted_mean([(v - mean) ** 2 for v in values], rows)) if len(values) > 1 else None
    return PathValue(path, mean, deviation, values, rows)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Returns the mean of numbers by their weights, which need not sum to 1."""
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)
