"""Runs the tools of rr_runtime, in this process or with another Python that has another onnxruntime."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rr_runtime
from rr_runtime.cli import ERROR, HOLDS, MISMATCH
from rr_runtime.cli import measure as measure_here
from rr_runtime.cli.progress import PROGRESS
from rr_runtime.errors import RuntimeFailure
from rr_runtime.tools.opening import Fails
from rr_runtime.tools.timing import Tell


def measure(arguments: Sequence[str], *, python: Path | None = None, progress: Tell | None = None) -> dict[str, Any]:
    """Returns what a tool of rr_runtime gives (JSON-ready).

    Args:
        arguments: its command line, such as ``["doctor", "out"]``.
        python: another environment's interpreter, which has onnxruntime and numpy; rr_runtime comes from here. None:
            this process.
        progress: told (stage, done, total).

    Raises:
        Fails: the form that was asked for is there, and does not run.
        RuntimeFailure: the bundle is at fault, there is no such provider, or the other process crashed.
        ValueError: an argument is wrong.
    """
    if python is None:
        return measure_here(arguments, progress)
    source = str(Path(rr_runtime.__file__).parent.parent)
    search = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    command = [os.path.abspath(python), "-m", "rr_runtime", *arguments, "--json", "--progress"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": search},
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise RuntimeFailure(f"{python}: expected an interpreter, got {error}; name one that starts") from error
        said = _follow(process, progress)
        code = process.wait()
        printed.seek(0)
        lines = printed.read().splitlines()
    if code in (HOLDS, MISMATCH) and lines:
        try:
            result: dict[str, Any] = json.loads(lines[-1])
            return result
        except ValueError:
            pass
    known = code == MISMATCH and any(line.startswith(ERROR) for line in said)
    raise (Fails if known else RuntimeFailure)(_why(python, code, said))


def _follow(process: subprocess.Popen[str], progress: Tell | None) -> list[str]:
    """What the process says on standard error, without its progress, which is passed on."""
    said = []
    assert process.stderr is not None
    with process.stderr as stream:
        for line in stream:
            if line.startswith(PROGRESS):
                if progress is not None:
                    stage, done, total = json.loads(line.removeprefix(PROGRESS))
                    progress(stage, done, total)
            elif line.strip():
                said.append(line.strip())
    return said


def _why(python: Path, code: int, said: Sequence[str]) -> str:
    errors = [line.removeprefix(ERROR) for line in said if line.startswith(ERROR)]
    if errors:
        return errors[-1]
    last = " / ".join(said[-3:]) or "no message"
    return (
        f"{python}: expected a result, got exit code {code}: {last}; "
        "check that it has Python 3.10 or newer, numpy and onnxruntime 1.21 or newer"
    )
