"""How long it takes to load a bundle, and how much memory: in a fresh process, so that nothing is there before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rr_runtime.bundle import open_bundle
from rr_runtime.errors import RuntimeFailure
from rr_runtime.tools import child
from rr_runtime.tools.inputs import timed_inputs
from rr_runtime.tools.machine import resident_bytes
from rr_runtime.tools.opening import open_session


def load_once(bundle: str, provider: str, target: str | None, threads: int) -> dict[str, Any]:
    """Returns seconds and bytes of the first session and its first run in this process (JSON-ready).

    ``load_s`` is all that `Session` does. ``check_s``, for the hashes of the files, is a part of it, timed by itself
    before; so ``load_s`` is that of files which the system has read before. ``resident_load`` and ``resident_run`` are
    the growths of resident memory, in bytes, until the session is there and until its first run has ended.
    """
    before = resident_bytes()
    start = time.perf_counter()
    opened = open_bundle(bundle)
    checked = time.perf_counter()
    session = open_session(Path(bundle), provider, target, threads=threads)
    loaded = time.perf_counter()
    after_load = resident_bytes()
    feeds = timed_inputs(opened, [opened.manifest.targets.get(session.target)])
    begin = time.perf_counter()
    session.run(feeds)
    first = time.perf_counter() - begin
    after_run = resident_bytes()
    return {
        "check_s": checked - start,
        "load_s": loaded - checked,
        "first_run_s": first,
        "resident_load": None if after_load is None or before is None else after_load - before,
        "resident_run": None if after_run is None or before is None else after_run - before,
    }


def load_often(bundle: Path, provider: str, target: str | None, *, threads: int, times: int) -> dict[str, Any] | None:
    """Returns the median of every number of `load_once` over several processes, or None for no times.

    Raises:
        RuntimeFailure: a process failed.
    """
    found: Sequence[dict[str, Any]] = [
        child.call(
            "rr_runtime.tools.load:load_once", bundle=str(bundle), provider=provider, target=target, threads=threads
        )
        for _ in range(times)
    ]
    if not found:
        return None
    if any(one.keys() != found[0].keys() for one in found):
        raise RuntimeFailure(f"{bundle}: expected the same figures from every process, got others; run it again")
    medians: dict[str, Any] = {"processes": times}
    for key in found[0]:
        values = [one[key] for one in found if one[key] is not None]
        medians[key] = float(np.median(values)) if values else None
    return medians
