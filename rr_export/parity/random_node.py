"""First runs of many sessions in which the random node decides: opened in a process of their own, meanwhile."""

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

SESSIONS = 1_000
FirstRuns = Callable[[], NDArray[np.int64]]


@contextmanager
def first_random_runs(routing: RoutingSlice, *, wanted: bool = True) -> Iterator[FirstRuns]:
    """Inside, a process of its own opens many sessions, whose random node decides, while other things are checked.

    Args:
        routing: what decides in the file.
        wanted: whether they will be asked for at all.

    Yields:
        What waits for them and returns the routes and paths of their first runs, int64 [sessions, 2, S].
    """
    if not (wanted and routing.has_random_node):
        yield _none
        return
    with tempfile.TemporaryDirectory() as scratch:
        model, feeds, out = (Path(scratch) / name for name in ("slice.onnx", "feeds.npz", "routes.npy"))
        model.write_bytes(routing.content)
        np.savez(feeds, **routing.feeds(None, None))  # type: ignore[arg-type]
        command = [sys.executable, first_runs.__file__, model, feeds, out, SESSIONS, *routing.outputs]
        with subprocess.Popen([str(c) for c in command]) as process:

            def drawn() -> NDArray[np.int64]:
                if process.wait():
                    raise subprocess.CalledProcessError(process.returncode, process.args)
                return np.asarray(np.load(out))

            try:
                yield drawn
            finally:
                process.kill()


def _none() -> NDArray[np.int64]:
    raise LookupError("random node: expected a file that has one, and runs that were wanted, got none")
