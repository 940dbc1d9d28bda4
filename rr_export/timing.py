"""Times of several things taken in turns, and their ratios; ``rr-export bench`` is built on it.

Machines drift: they warm up, throttle, and serve others. So everything that is compared is timed in rounds,
each of which times every case once in a new random order, and ratios are taken inside a round. Before a case is
timed it is called once, because the case before it has emptied the caches.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from rr_export.bundle import Bundle, load
from rr_export.errors import BundleError
from rr_runtime import Session

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


def spread_of(samples: NDArray[np.float64]) -> Spread:
    """Returns median and quartiles of float64 [n], n >= 1."""
    low, median, high = (float(q) for q in np.quantile(samples, (0.25, 0.5, 0.75)))
    return Spread(low, median, high)


def interleave(
    cases: Mapping[str, Case],
    *,
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
    progress: Tell | None = None,
    title: str = "runs",
) -> Times:
    """Returns the seconds of one call for every case and round, float64 [runs] each.

    Args:
        cases: what to time, by name; called in a new random order in every round.
        runs: number of rounds.
        clock: seconds; ``time.thread_time`` does not count what other processes take, and fits cases that
            compute in the calling thread alone.
        progress: told (title, round, rounds).
        title: what the progress says.
    """
    order = list(cases)
    shuffle = random.Random(0).shuffle
    repeats = {name: _repeats(cases[name], clock) for name in order}
    times = {name: np.empty(runs) for name in order}
    for i in range(runs):
        shuffle(order)
        for name in order:
            times[name][i] = _seconds(cases[name], repeats[name], clock)
        if progress is not None:
            progress(title, i + 1, runs)
    return times


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


def bench_bundle(bundle: Path, *, runs: int, threads: int, provider: str, progress: Tell | None) -> Table:
    """Returns a table of the times of a bundle folder on several paths, with the inputs of its first golden case.

    Args:
        bundle: the folder.
        runs: timed runs per path.
        threads: threads inside one operator.
        provider: the execution provider.
        progress: told (stage, done, total).

    Raises:
        BundleError: the bundle has no golden cases, or is damaged.
    """
    loaded = load(bundle)
    if not loaded.golden:
        raise BundleError(
            f"{bundle}: expected a bundle folder with golden cases, whose inputs are timed, got "
            f"{'a folder' if bundle.is_dir() else 'a single file'} without; save the exported model to a folder and "
            "time that"
        )
    session = Session(bundle, provider=provider, session_options=session_options(threads))
    cases = _paths(loaded, session, dict(loaded.golden[0].inputs))
    times = interleave(cases, runs=runs, progress=progress)
    reference = "most probable path" if "most probable path" in cases else next(iter(cases))
    table = Table(
        title=escape(f"{bundle}: {len(loaded.plan.sites)} sites, provider {session.provider}"),
        caption=caption(runs=runs, threads=threads),
    )
    table.add_column("path")
    for column in ("median ms", "quartiles ms", f"ratio to the {reference}", "its quartiles"):
        table.add_column(column, justify="right")
    for name in cases:
        spread, ratio = spread_of(times[name] * 1e3), paired_ratio(times, name, reference)
        table.add_row(
            escape(name),
            f"{spread.median:.3f}",
            f"{spread.low:.3f} - {spread.high:.3f}",
            f"{ratio.median:.3f}",
            f"{ratio.low:.3f} - {ratio.high:.3f}",
        )
    return table


def _paths(bundle: Bundle, session: Session, inputs: dict[str, NDArray[Any]]) -> dict[str, Case]:
    """What to time: a run on fresh draws, then forced paths, as far as the interface takes them."""
    if bundle.manifest["interface"] not in ("explicit", "host"):
        return {"as the file decides": lambda: session.run(inputs)}
    sites = bundle.plan.sites
    paths = {
        "most probable path": [max(0, route) for route in bundle.plan.most_probable()],
        "first branch at every site": [0] * len(sites),
        "last branch at every site": [site.policy.branches - 1 for site in sites],
    }
    cases: dict[str, Case] = {"fresh random path": lambda: session.run(inputs)}
    for name, path in paths.items():
        cases[name] = lambda path=path: session.run(inputs, path=path)  # type: ignore[misc]
    return cases


def _repeats(case: Case, clock: Callable[[], float]) -> int:
    """Warms the case up; returns how many calls one sample needs."""
    for _ in range(WARM_UP):
        case()
    return max(1, int(LEAST_SECONDS / max(_seconds(case, 1, clock), 1e-9)))


def _seconds(case: Case, repeats: int, clock: Callable[[], float]) -> float:
    case()
    start = clock()
    for _ in range(repeats):
        case()
    return (clock() - start) / repeats
