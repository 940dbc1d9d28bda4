"""Runs cases on one provider, without torch: ``python -m tests.conformance.worker CASES PROVIDER CELL...``.

A cell is a case, or ``case:target``. Needs the standard library, numpy, onnxruntime and rr_runtime on PYTHONPATH. With
``--agent COMMAND`` the sessions are those of another language's runtime (agent.py).
Prints one JSON object per line: first the versions, then one per cell, in order; a cell without a line crashed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rr_runtime import ProviderError
from tests.conformance.judging import Judge, Tolerance, Verdict
from tests.conformance.places import Here, Opened, There

DEFAULT = "default"
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Prints the versions and then what comes of each cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path, help="the folder of the cases")
    parser.add_argument("provider", help="the short name of the execution provider")
    parser.add_argument("cells", nargs="*", help="case or case:target")
    parser.add_argument("--every", metavar="PROVIDER", help="every case, and its targets made for this provider")
    parser.add_argument("--rtol", type=float, default=0.0, help="widens the case's relative tolerance")
    parser.add_argument("--atol", type=float, default=0.0, help="widens the case's absolute tolerance")
    parser.add_argument("--agent", metavar="COMMAND", help="starts the agent of another runtime, as a shell has it")
    given = parser.parse_args()
    out = _own_stdout()
    cells = given.cells or every_cell(given.cases, given.every)
    wider = Tolerance(given.rtol, given.atol)
    command = None if given.agent is None else shlex.split(given.agent)
    with Here(given.provider) if command is None else There(given.provider, command, ROOT) as place:
        print(json.dumps({"versions": place.versions()}), file=out, flush=True)
        for cell in cells:
            case, _, target = cell.partition(":")
            row = run_cell(place, given.cases / case, target or DEFAULT, wider)
            print(json.dumps({"cell": f"{case}:{target or DEFAULT}", **row}), file=out, flush=True)


def every_cell(cases: Path, provider: str | None) -> list[str]:
    """Returns the cells of every case: its default file, and its targets that are made for the provider."""
    cells = []
    for case in sorted(path.parent.name for path in cases.glob("*/runs.json")):
        cells.append(case)
        manifest = cases / case / "manifest.json"
        entries = json.loads(manifest.read_text()).get("targets", {}) if manifest.is_file() else {}
        cells += [f"{case}:{name}" for name, entry in entries.items() if entry["provider"] == provider]
    return cells


FORMAT, VERSION = "rr.conformance", 1


def run_cell(place: Here | There, folder: Path, target: str, wider: Tolerance | None = None) -> dict[str, Any]:
    """Returns what comes of the runs of one case, JSON-ready.

    Keys: ``error`` (the session cannot be made; else null), ``refused`` (why the runtime refuses the form for a known
    fault of the provider; it is run all the same, to see whether the fault is still there), ``runs`` (of each its
    name, largest error and message), ``skipped`` (runs at sizes that the target has not), ``nodes`` (by provider),
    ``seconds``.
    """
    case = json.loads((folder / "runs.json").read_text())
    entry = _target_entry(folder, target)
    started = time.perf_counter()
    verdicts: list[Verdict] = []
    skipped = 0
    with place.cell():
        refused = ""
        try:
            try:
                session = place.open(folder / case["model"], target)
            except ProviderError as error:
                refused = str(error)
                session = place.open(folder / case["model"], target, refuse_faults=False)
        except Exception as error:  # whatever an engine raises
            return {
                "error": f"{type(error).__name__}: {error}",
                "refused": "",
                "runs": [],
                "skipped": 0,
                "nodes": {},
                "seconds": 0.0,
            }
        tolerance = _tolerance(case, entry).widened(wider)
        only = [tuple(p["path"]) for p in entry["paths"]] if entry.get("form") == "frozen" else None
        judge = Judge(session, case["runs"], tolerance, only_paths=only)
        problem = _problem(case, [run for run in case["runs"] if _fits(session, run, entry.get("sizes", {}))])
        if problem:
            return {"error": problem, "refused": "", "runs": [], "skipped": 0, "nodes": {}, "seconds": 0.0}
        for run in case["runs"]:
            if not _fits(session, run, entry.get("sizes", {})):
                skipped += 1
                continue
            verdicts.append(judge.verdict(run))
        exact = wider is None or not (wider.rtol or wider.atol) or bool(entry.get("share"))
        if exact and session.manifest.golden and session.manifest.interface != "standalone":
            verdicts.append(_check(session))
        nodes = place.nodes(session)
    return {
        "error": None,
        "refused": refused,
        "runs": [asdict(verdict) for verdict in verdicts],
        "skipped": skipped,
        "nodes": nodes,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _problem(case: dict[str, Any], fitting: list[dict[str, Any]]) -> str:
    """What keeps a case from proving anything, empty where nothing does."""
    if (case["format"], case["version"]) != (FORMAT, VERSION):
        return f"runs.json: expected {FORMAT} {VERSION}, got {case['format']} {case['version']}; make the cases again"
    for run in case["runs"]:
        if (run["kind"] == "stream" and not run["seeds"]) or (run["kind"] == "ensemble" and len(run["expected"]) < 1):
            return f"run {run['name']!r}: expected something to compare, got nothing; make the cases again"
    if not any(run["kind"] in ("run", "fresh") for run in fitting):
        return "expected at least one run whose outputs are compared, got none; make the cases again"
    return ""


def _check(session: Opened) -> Verdict:
    """The recorded runs of the bundle itself, as a run of its own."""
    try:
        session.check()
    except Exception as error:
        return Verdict("check", 0.0, f"{type(error).__name__}: {error}")
    return Verdict("check", 0.0)


def _target_entry(folder: Path, target: str) -> dict[str, Any]:
    file = folder / "manifest.json"
    if target == DEFAULT or not file.is_file():
        return {}
    entry: dict[str, Any] = json.loads(file.read_text()).get("targets", {}).get(target, {})
    return entry


def _tolerance(case: dict[str, Any], entry: dict[str, Any]) -> Tolerance:
    own = Tolerance(case["rtol"], case["atol"])
    return own.widened(Tolerance(entry["rtol"], entry["atol"], entry.get("share", 0.0))) if entry else own


def _fits(session: Opened, run: dict[str, Any], sizes: dict[str, int]) -> bool:
    """Tells whether a run's inputs have the sizes that a target fixes; runs to be refused always do."""
    if run["kind"] == "refused":
        return True
    for tensor in session.manifest.inputs:
        for size, wanted in zip(run["inputs"][tensor.name]["shape"], tensor.shape, strict=True):
            if isinstance(wanted, str) and sizes.get(wanted, size) != size:
                return False
    return True


def _own_stdout() -> Any:
    """Returns a file on the process's output, which engines that print there do not reach any more."""
    kept = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return kept


if __name__ == "__main__":
    main()
