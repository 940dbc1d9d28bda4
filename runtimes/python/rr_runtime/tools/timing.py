"""Times of several things taken in turns, their spreads, and how sure their differences are.

Machines drift: they warm up, throttle, and serve others. So everything that is compared is timed in rounds,
each of which times every case once in a new random order, and ratios are taken inside a round. Before a case is
timed it is called once, because the case before it has emptied the caches.
"""

from __future__ import annotations

import math
import platform
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

WARM_UP = 3  # untimed calls of every case
LEAST_SECONDS = 2e-3  # one sample is the mean of as many calls as take about this long

Case = Callable[[], object]
Tell = Callable[[str, int, int], None]
Times = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some samples, in their unit."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Interval:
    """A median and an interval that holds the true one with at least the asked confidence, in the samples' unit."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Law:
    """The law of single samples: median, 95th and 99th percentile, mean and its standard error, standard deviation."""

    p50: float
    p95: float
    p99: float
    mean: float
    error: float
    deviation: float
    samples: int

    def to_json(self) -> dict[str, float]:
        """Returns the law as a dictionary."""
        return asdict(self)


def spread_of(samples: NDArray[np.float64]) -> Spread:
    """Returns median and quartiles of float64 [n], n >= 1."""
    low, median, high = (float(q) for q in np.quantile(samples, (0.25, 0.5, 0.75)))
    return Spread(low, median, high)


def law_of(samples: NDArray[np.float64]) -> Law:
    """Returns the law of float64 [n], n >= 2, single samples; percentiles are interpolated between samples."""
    p50, p95, p99 = (float(q) for q in np.quantile(samples, (0.5, 0.95, 0.99)))
    deviation = float(np.std(samples, ddof=1))
    return Law(p50, p95, p99, float(samples.mean()), deviation / math.sqrt(len(samples)), deviation, len(samples))


def interval_of(samples: NDArray[np.float64], *, confidence: float = 0.95) -> Interval:
    """Returns the median of float64 [n] and an interval for the true median; without bounds where n is too small.

    The interval lies between two order statistics, so it assumes independent samples and no shape of their law: the
    number of samples below the median is Binomial(n, 1/2) (the sign test; Conover, Practical Nonparametric Statistics).
    """
    ordered, n = np.sort(samples), len(samples)
    below, rank, tail = 0.0, 0, (1 - confidence) / 2
    while rank < n and below + math.comb(n, rank) / 2**n <= tail:
        below += math.comb(n, rank) / 2**n
        rank += 1
    low, high = (float(ordered[rank - 1]), float(ordered[n - rank])) if rank else (-math.inf, math.inf)
    return Interval(low, float(np.median(ordered)), high)


def interleave(
    cases: Mapping[str, Case],
    *,
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
    progress: Tell | None = None,
    title: str = "runs",
    single: Collection[str] = (),
    seldom: Mapping[str, int] = MappingProxyType({}),
) -> Times:
    """Returns the seconds of one call for every case and round, float64 [its rounds] each.

    Args:
        cases: what to time, by name; called in a new random order in every round.
        runs: number of rounds.
        clock: seconds; ``time.thread_time`` does not count what other processes take, and fits cases that
            compute in the calling thread alone.
        progress: told (title, round, rounds).
        title: what the progress says.
        single: the cases whose samples are single calls, not means of several.
        seldom: the cases that take part in every n-th round only, with n; the others take part in all.
    """
    order = list(cases)
    shuffle = random.Random(0).shuffle
    repeats = {name: _repeats(cases[name], clock, single=name in single) for name in order}
    times: dict[str, list[float]] = {name: [] for name in order}
    for i in range(runs):
        shuffle(order)
        for name in order:
            if i % seldom.get(name, 1) == 0:
                times[name].append(_seconds(cases[name], repeats[name], clock))
        if progress is not None:
            progress(title, i + 1, runs)
    return {name: np.array(samples) for name, samples in times.items()}


def paired_ratio(times: Times, case: str, reference: str) -> Spread:
    """Returns the spread, over the rounds, of the time of ``case`` over that of ``reference``."""
    return spread_of(times[case] / times[reference])


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Returns options under which several sessions of one process do not disturb each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def caption(*, runs: int, threads: int, clock: str = "wall time", **versions: str) -> str:
    """Returns what a table of times must say: rounds, clock, threads, versions, machine."""
    known = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, **versions}
    listed = ", ".join(f"{name} {version}" for name, version in known.items())
    rounds, used = f"{runs} interleaved round{'s' * (runs > 1)}", f"{threads} thread{'s' * (threads > 1)}"
    return (
        f"{rounds} in random order; median and quartiles of {clock}; {used}; "
        f"{listed}, Python {platform.python_version()}, {platform.machine()}"
    )


def _repeats(case: Case, clock: Callable[[], float], *, single: bool) -> int:
    """Warms the case up; returns how many calls one sample needs."""
    for _ in range(WARM_UP):
        case()
    return 1 if single else max(1, int(LEAST_SECONDS / max(_seconds(case, 1, clock), 1e-9)))


def _seconds(case: Case, repeats: int, clock: Callable[[], float]) -> float:
    case()
    start = clock()
    for _ in range(repeats):
        case()
    return (clock() - start) / repeats
