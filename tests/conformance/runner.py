"""A runner: how cases get onto one execution provider, and which of them are known not to hold there, and why."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnxruntime

from tests.conformance.judging import Tolerance

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(__file__).parent / "cases"
ENVIRONMENTS = ROOT / ".providers"
DEFAULT, CPU = "default", "cpu"
NO_NODE = "no node ran on the provider"
WIDTH = 400  # characters of a reason
NOISE = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\S*/cases/", ""),
    (r"\S+\.(cc|h):\d+ ", ""),
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (r"expected a run on \w+, got: ", ""),
    (r"^.*expected a form that \w+ computes rightly, got [^;]*; ", ""),
    (r": make the form for it .*$", ""),
    (r"Non-zero status code returned while running (\w+) node\. ", r"\1 "),
    (r"; (compare with provider='cpu'|check its driver).*$", ""),
)
BATCH_LIMIT, CELL_LIMIT = 900.0, 120.0  # seconds
HOLDS, EXCEPTION, REFUSED, FAILS = "holds", "exception", "refused", "fails"
CHECKED, NOT_RUN = "checked", "not run"


@dataclass(frozen=True)
class Excepted:
    """Cells that are known not to hold, and really do not: one that holds is an error.

    Attributes:
        cells: ``case:target``, a pattern with ``*``; or several.
        reason: why, in one sentence for the table.
        match: a regular expression that what goes wrong matches, so that nothing else hides behind the reason.
    """

    cells: str | tuple[str, ...]
    reason: str
    match: str

    def names(self, cell: str) -> bool:
        """Tells whether the cell is meant."""
        patterns = (self.cells,) if isinstance(self.cells, str) else self.cells
        return any(fnmatch.fnmatchcase(cell, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Runner:
    """One column of the table.

    Attributes:
        name: of the column.
        provider: the short name of the execution provider.
        machine: what it runs on, for the table.
        environment: the folder in ``.providers`` that has its Python; None: this Python.
        setup: the make target that makes the environment; what is missing where there is none.
        agent: what starts the agent of another language's runtime, from the root of the repository; None: Python's.
        built: a file that the agent needs, from the root; what is missing where it is not there.
        targets: names of targets that it runs beside the default file; None: those made for its provider.
        exceptions: what is known not to hold here.
        wider: what its arithmetic needs beyond the cases' tolerances; None: nothing.
        wider_reason: why.
    """

    name: str
    provider: str
    machine: str
    environment: str | None = None
    setup: str = ""
    agent: Sequence[str] | None = None
    built: str = ""
    targets: Callable[[str, Mapping[str, Any]], bool] | None = None
    exceptions: Sequence[Excepted] = ()
    wider: Tolerance | None = None
    wider_reason: str = ""

    def missing(self) -> str:
        """Returns what is missing to run it here, empty where nothing is."""
        if self.built and not (ROOT / self.built).exists():
            return f"{self.built} is not built; run: make {self.setup}"
        if self.agent is not None:
            return ""
        if self.environment is not None:
            ready = (ENVIRONMENTS / self.environment / "run").is_file()
            return "" if ready else f".providers/{self.environment} is not set up; run: make {self.setup}"
        built = [name.removesuffix("ExecutionProvider").lower() for name in onnxruntime.get_available_providers()]
        return "" if self.provider in built else f"this onnxruntime has no {self.provider} provider; {self.setup}"

    def takes(self, name: str, entry: Mapping[str, Any]) -> bool:
        """Tells whether the target of this name is run here."""
        return entry["provider"] == self.provider if self.targets is None else self.targets(name, entry)


@dataclass(frozen=True)
class Cell:
    """What came of one case and target on one runner.

    Attributes:
        outcome: "holds", "exception" (known not to hold, and does not), "refused" (by the runtime, for a known fault of
            the provider), "fails", "checked" (without running it) or "not run".
        runs: how many runs were made.
        skipped: how many were not, as the target has no such sizes.
        error: the largest difference of floats from eager torch.
        nodes_on: how many nodes are on the runner's provider.
        nodes: how many there are.
        reason: the reason of the exception or refusal, or what fails.
        anyway: of a refused one, what is wrong where it is run all the same; empty where nothing is.
    """

    outcome: str
    runs: int = 0
    skipped: int = 0
    error: float = 0.0
    nodes_on: int = 0
    nodes: int = 0
    reason: str = ""
    anyway: str = ""


@dataclass(frozen=True)
class Column:
    """What came of all cells on one runner.

    Attributes:
        versions: of what ran.
        cells: by ``case:target``.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, Cell] = field(default_factory=dict)


def cells_of(runner: Runner, folder: Path = CASES) -> list[str]:
    """Returns the cells of a runner: every case, and those of its targets that the runner takes."""
    cells = []
    for case in sorted(path.name for path in folder.iterdir() if (path / "runs.json").is_file()):
        cells.append(f"{case}:{DEFAULT}")
        manifest = folder / case / "manifest.json"
        if manifest.is_file():
            targets = json.loads(manifest.read_text()).get("targets", {})
            cells += [f"{case}:{name}" for name, entry in targets.items() if runner.takes(name, entry)]
    return cells


def run_column(runner: Runner, cells: Sequence[str], folder: Path = CASES) -> Column:
    """Returns what comes of the cells; what crashes or hangs takes only its own cell along.

    All are run in one process. Where it dies, the cell that it died in is run again, alone, and the rest in another.
    """
    versions, rows, ended = _work(runner, cells, folder, BATCH_LIMIT)
    while left := [cell for cell in cells if cell not in rows]:
        if len(cells) > 1:
            _, alone, ended = _work(runner, left[:1], folder, CELL_LIMIT)
            rows |= alone
        rows.setdefault(left[0], {"error": ended})
        if left[1:]:
            rows |= _work(runner, left[1:], folder, BATCH_LIMIT)[1]
    return Column(versions, {cell: settle(runner, cell, rows[cell]) for cell in cells})


def read_lines(runner: Runner, lines: str) -> Column:
    """Returns the column of what a worker printed, on whatever machine; a cell that is not there has crashed."""
    versions, rows = _parsed(lines)
    cells = cells_of(runner)
    lost = {"error": "the worker says nothing of it"}
    return Column(versions, {cell: settle(runner, cell, rows.get(cell, lost)) for cell in cells})


def settle(runner: Runner, cell: str, row: Mapping[str, Any]) -> Cell:
    """Returns the cell of a worker's line, exceptions counted in: one that does not fail, fails."""
    wrong = _short(_wrong(runner, row))
    runs, nodes = row.get("runs", []), row.get("nodes", {})
    counted = {
        "runs": len(runs),
        "skipped": row.get("skipped", 0),
        "error": max((run["error"] for run in runs), default=0.0),
        "nodes_on": _on_provider(runner, nodes),
        "nodes": sum(nodes.values()),
    }
    if not row.get("refused"):
        return excepted(runner.exceptions, cell, wrong, Cell(HOLDS, **counted))
    refused = Cell(REFUSED, **counted, reason=_short(row["refused"]), anyway=wrong)
    return excepted(runner.exceptions, cell, "", refused)


def excepted(exceptions: Sequence[Excepted], cell: str, wrong: str, right: Cell) -> Cell:
    """Returns what becomes of a cell by the exceptions.

    Args:
        exceptions: of the runner.
        cell: its name.
        wrong: what is wrong with it, empty where nothing is.
        right: what it is where nothing is wrong and no exception names it.
    """
    exception = next((e for e in exceptions if e.names(cell)), None)
    if exception is None:
        return replace(right, outcome=FAILS, reason=wrong) if wrong else right
    if not wrong:
        return replace(
            right, outcome=FAILS, reason=f"expected to fail ({exception.reason}), {right.outcome}; remove the exception"
        )
    if not re.search(exception.match, wrong):
        reason = f"expected a failure that matches {exception.match!r}, got: {wrong}"
        return replace(right, outcome=FAILS, reason=reason)
    return replace(right, outcome=EXCEPTION, reason=exception.reason)


def _wrong(runner: Runner, row: Mapping[str, Any]) -> str:
    """What is wrong with a worker's line, empty where nothing is."""
    if row.get("error"):
        return str(row["error"])
    failed = [run for run in row["runs"] if run["message"]]
    if failed:
        return f"{len(failed)} of {len(row['runs'])} runs: {failed[0]['name']}: {failed[0]['message']}"
    if not row["runs"]:
        return "no run fits the target"
    if not _on_provider(runner, row["nodes"]):
        return NO_NODE
    return ""


def _short(text: str) -> str:
    """The text without places on this machine, colours and what onnxruntime says of its own source."""
    for noise, instead in NOISE:
        text = re.sub(noise, instead, text)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def _on_provider(runner: Runner, nodes: Mapping[str, int]) -> int:
    return sum(n for name, n in nodes.items() if name.removesuffix("ExecutionProvider").lower() == runner.provider)


def _work(
    runner: Runner, cells: Sequence[str], folder: Path, limit: float
) -> tuple[dict[str, str], dict[str, dict[str, Any]], str]:
    """Returns versions, what one worker says of each cell, and how it ended where it says nothing of some."""
    python = sys.executable if runner.environment is None else str(ENVIRONMENTS / runner.environment / "run")
    command = [python, "-m", "tests.conformance.worker", str(folder), runner.provider, *cells]
    if runner.agent is not None:
        command += ["--agent", shlex.join(runner.agent)]
    if runner.wider is not None:
        command += ["--rtol", repr(runner.wider.rtol), "--atol", repr(runner.wider.atol)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "runtimes" / "python")])}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
        output, ended = done.stdout, _ending(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as error:
        partial = error.stdout or b""
        output = partial.decode() if isinstance(partial, bytes) else partial
        ended = f"no end after {limit:g} s"
    return (*_parsed(output), ended)


def _parsed(output: str) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Versions, and the line of each cell; a line that was cut off when the process died is none."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    versions = next((line["versions"] for line in lines if "versions" in line), {})
    return versions, {line["cell"]: line for line in lines if "cell" in line}


def _ending(code: int, errors: str) -> str:
    """How a process died: by a signal (a shell in between adds 128), or with its last word."""
    number = -code if code < 0 else code - 128
    if number in {s.value for s in signal.Signals}:
        return f"the process died ({signal.Signals(number).name})"
    last = [line.strip() for line in errors.splitlines() if line.strip()] or [""]
    return f"the process ended with {code}: {last[-1]}"
