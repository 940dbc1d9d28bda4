"""What a command takes until its own work begins: it is told to open what is not there, and ends."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from tempfile import TemporaryDirectory

import torch

from benchmarks.table import Row, Section
from rr_runtime.tools.timing import Tell, caption, interleave, spread_of

HELP_TARGET, TARGET = 0.3, 0.6  # seconds; commands that need torch have none
CLOCK = "CPU time of the process"

# Every command, its arguments, its target, and how it ends.
STARTS: Mapping[str, tuple[Sequence[str], float | None, int]] = {
    "--help": (["--help"], HELP_TARGET, 0),
    "lint --rules": (["lint", "--rules"], TARGET, 0),
    "run --help": (["run", "--help"], HELP_TARGET, 0),
    "explain": (["explain", "absent"], TARGET, 2),
    "lint": (["lint", "absent.onnx"], TARGET, 2),
    "inspect": (["inspect", "absent"], TARGET, 2),
    "report": (["report", "absent", "-o", "report.html"], TARGET, 2),
    "run": (["run", "absent"], TARGET, 2),
    "profile": (["profile", "absent", "half", "--keep", "0.5"], TARGET, 2),
    "menu": (["menu", "absent"], TARGET, 2),
    "doctor": (["doctor", "absent"], TARGET, 2),
    "place": (["place", "absent"], TARGET, 2),
    "bench": (["bench", "absent"], TARGET, 2),
    "search": (["search", "absent", "--data", "m:d", "--metric", "m:m", "--costs", "flops"], TARGET, 2),
    "attribute": (["attribute", "absent", "--data", "m:d", "--metric", "m:m"], TARGET, 2),
    "fit": (["fit", "absent", "--budget", "0.6", "--costs", "flops", "--name", "fast"], TARGET, 2),
    "package": (["package", "absent", "out", "--target", "cpu"], TARGET, 2),
    "prune": (["prune", "absent", "-o", "out"], TARGET, 2),
    "freeze": (["freeze", "absent", "out", "--path", "1"], TARGET, 2),
    "verify --against": (["verify", "absent.onnx", "--against", "absent"], TARGET, 2),
    "verify --target": (["verify", "absent", "--target", "all"], TARGET, 2),
    "diff": (["diff", "absent", "absent"], TARGET, 2),
    "verify MODEL": (["verify", "absent", "absent:model"], None, 2),
    "export MODEL": (["export", "absent:model", "out"], None, 2),
}


def measure(*, runs: int, progress: Tell | None = None, names: Sequence[str] = tuple(STARTS)) -> Section:
    """Returns the seconds of each command, in processes of their own."""
    with TemporaryDirectory() as folder:
        cases = {name: partial(_start, folder, *STARTS[name]) for name in names}
        times = interleave(cases, runs=runs, clock=_children, progress=progress, title="start")
    rows = [Row(f"rr-export {name}", spread_of(times[name]), STARTS[name][1], "s") for name in names]
    return Section("Start of commands", rows, caption(runs=runs, threads=1, clock=CLOCK, torch=torch.__version__))


def _start(folder: str, arguments: Sequence[str], target: float | None, code: int) -> None:
    search = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        [sys.executable, "-m", "rr_export", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if ended.returncode != code:
        raise RuntimeError(f"{arguments}: expected exit code {code}, got {ended.returncode}: {ended.stderr[-500:]}")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
