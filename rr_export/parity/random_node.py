"""Runs in which the file's own random node decides, drawn in a process of their own.

ONNX Runtime's generator is one per process, and so is the first run of a session.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rr_export.lowering.deciding_slice import RoutingSlice
from rr_export.parity import first_runs

LONG_RUNS, SESSIONS = 10_000, 1_000
RandomNodeRuns = Callable[[str], NDArray[np.int64]]


@contextmanager
def random_node_runs(routing: RoutingSlice, *, wanted: bool = True) -> Iterator[RandomNodeRuns]:
    """Inside, a process of its own draws routes by the random node, if there is one, while other things are checked.

    Args:
        routing: what decides in the file.
        wanted: whether they will be asked for at all.

    Yields:
        What waits for it and returns the "first" runs of many sessions, int64 [sessions, 2, S], or the "long" run of
        one, int64 [runs, 2, S].
    """
    if not (wanted and routing.has_random_node):
        yield _none
        return
    with tempfile.TemporaryDirectory() as scratch:
        model, feeds, out = (Path(scratch) / name for name in ("slice.onnx", "feeds.npz", "routes.npz"))
        model.write_bytes(routing.content)
        np.savez(feeds, **routing.feeds(None, None))  # type: ignore[arg-type]
        command = [sys.executable, first_runs.__file__, model, feeds, out, SESSIONS, LONG_RUNS, *routing.outputs]
        with subprocess.Popen([str(c) for c in command]) as process:

            def drawn(which: str) -> NDArray[np.int64]:
                if process.wait():
                    raise subprocess.CalledProcessError(process.returncode, process.args)
                with np.load(out) as arrays:
                    return np.asarray(arrays[which])

            try:
                yield drawn
            finally:
                process.kill()


def _none(which: str) -> NDArray[np.int64]:
    raise LookupError(f"random node: expected one, got none that could make the {which} runs")
