"""What two processes save when values are compared on many inputs, and what one pair of path and input costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import rr_export as rr
from benchmarks.models import Size, encoder_layers, example, routed_skips
from benchmarks.table import Row, Section
from rr_export.capture.request import bind
from rr_export.parity.terms import Terms
from rr_export.parity.verify import verify_points
from rr_runtime.tools.timing import Spread, Tell, caption, interleave, spread_of

JOBS, INPUTS, PATHS = 2, 24, 16
ENCODER = Size(width=384, hidden=1536, heads=12, layers=12, tokens=64)


def measure(*, runs: int, progress: Tell | None = None, size: Size = ENCODER, inputs: int = INPUTS) -> Section:
    """Returns the time of two processes over that of one, and the milliseconds of a pair in one process."""
    layers, head = encoder_layers(size)
    model, args = routed_skips(layers, head).eval(), (example(size),)
    data = [tuple(torch.randn_like(arg) for arg in args) for _ in range(inputs)]
    found: dict[int, int] = {}
    with TemporaryDirectory() as scratch:
        bundle = rr.export(model, args)
        folder = bundle.save(Path(scratch) / "out")

        def compare(jobs: int) -> None:
            terms = Terms.asked(rtol=None, atol=None, max_paths=PATHS)
            checks = verify_points(
                bundle, folder, bind(model, args), terms, points=("sites", "data"), data=data, jobs=jobs
            )
            (check,) = [check for check in checks if check.name == "data"]
            if not check.passed:
                raise RuntimeError(f"{jobs} processes: expected the same model, got {check.failures}")
            found[jobs] = check.figures["pairs"]

        compare(JOBS)  # the processes are there from now on
        cases: dict[str, Callable[[], None]] = {str(jobs): partial(compare, jobs) for jobs in (1, JOBS)}
        times = interleave(cases, runs=runs, clock=time.perf_counter, progress=progress, title="sweep")
    ratios = times[str(JOBS)] / times["1"]
    seconds = times["1"] / found[1]
    rows = [
        Row(f"{found[1]} pairs of path and input: {JOBS} processes over one", spread_of(ratios), 0.65),
        Row("one pair, in one process", _in_milliseconds(spread_of(seconds)), None, "ms"),
    ]
    return Section("Sweeps", rows, caption(runs=runs, threads=1, clock="wall time", torch=torch.__version__))


def _in_milliseconds(spread: Spread) -> Spread:
    return Spread(1e3 * spread.low, 1e3 * spread.median, 1e3 * spread.high)
