"""What two processes save when values are compared on many inputs, and what one pair of path and input costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

import rr_export as rr
from benchmarks.models import Size, encoder_layers, example, routed_skips
from benchmarks.table import Row, Section
from rr_export.capture.request import bind
from rr_export.demo import one_torch_thread
from rr_export.parity.data_check import Spread as Workers
from rr_export.parity.data_check import check_data
from rr_export.parity.eager_model import Eager
from rr_export.parity.model_worker import model_worker
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms
from rr_runtime.tools.timing import Spread, Tell, caption, interleave, spread_of

JOBS, PATHS = 2, 16
FEW, MANY = 4, 44  # inputs; what is there once for every sweep is in both
ENCODER = Size(width=384, hidden=1536, heads=12, layers=12, tokens=64)


def measure(
    *, runs: int, progress: Tell | None = None, size: Size = ENCODER, few: int = FEW, many: int = MANY
) -> Section:
    """Returns the time of a pair in two workers over that in one, and what is paid once."""
    layers, head = encoder_layers(size)
    request = bind(routed_skips(layers, head).eval(), (example(size),))
    data = [tuple(torch.randn_like(arg) for arg in request.args) for _ in range(many)]
    terms = Terms.asked(rtol=None, atol=None, max_paths=PATHS)
    pairs: dict[int, int] = {}
    with TemporaryDirectory() as scratch, one_torch_thread():
        bundle = rr.export(request.model, request.args)
        folder = bundle.save(Path(scratch) / "out")
        file = File(folder, bundle, threads=1)
        work = model_worker(request, folder, terms)

        def compare(jobs: int, inputs: int) -> None:
            references = (Eager(bind(request.model, args)) for args in data[:inputs])
            check = check_data(references, file, terms, spread=Workers(jobs, elsewhere=work))
            if not check.passed:
                raise RuntimeError(f"{jobs} processes: expected the same model, got {check.failures}")
            pairs[inputs] = check.figures["pairs"]

        compare(JOBS, few)  # the processes are there from now on
        cases: dict[str, Callable[[], None]] = {
            f"{jobs} {inputs}": partial(compare, jobs, inputs) for jobs in (1, JOBS) for inputs in (few, many)
        }
        times = interleave(
            cases, runs=runs, clock=time.perf_counter, progress=progress, title="sweep", single=tuple(cases)
        )
    rows = rows_of([times[name] for name in cases], pairs[few], pairs[many])
    return Section("Sweeps", rows, caption(runs=runs, threads=1, clock="wall time", torch=torch.__version__))


def rows_of(times: Sequence[NDArray[np.float64]], few: int, many: int) -> list[Row]:
    """Returns what two counts of pairs say of one more pair, which a noisy machine can make negative.

    Args:
        times: Seconds of each run: one process with few and with many pairs, then all of them with few and many.
        few: Pairs of path and input in the shorter sweep.
        many: Pairs in the longer one.
    """
    one_few, one_many, both_few, both_many = times
    one, both = (one_many - one_few) / (many - few), (both_many - both_few) / (many - few)
    return [
        Row(f"a pair of path and input: {JOBS} processes over one", spread_of(both / one), 0.65),
        Row("a pair, in one process", _milliseconds(one), None, "ms"),
        Row(f"a pair, in {JOBS} processes", _milliseconds(both), None, "ms"),
        Row("once, in every process: model and file opened", _milliseconds(both_few - few * both), None, "ms"),
    ]


def _milliseconds(seconds: NDArray[np.float64]) -> Spread:
    return spread_of(1e3 * seconds)
