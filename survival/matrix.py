"""The matrix: every tool on every file, as data that is written, read and compared."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from survival.cell import SILENT, Outcome
from survival.files import COLUMNS, export_column
from survival.tool import Tool
from survival.tools import TOOLS
from survival.worker import Worker

Progress = Callable[[str, int, int], None]
PARTS = ("rr-export", "onnxruntime", "onnx", "onnx-ir", "torch", "numpy")


@dataclass(frozen=True)
class Matrix:
    """What came of every cell.

    Attributes:
        versions: of the packages, by name.
        cells: outcomes by tool, then by file.
    """

    versions: Mapping[str, str]
    cells: Mapping[str, Mapping[str, Outcome]]

    def to_json(self) -> dict[str, Any]:
        """Returns it JSON-ready."""
        tools = [
            {
                "name": name,
                "packages": list(TOOLS[name].packages),
                "summary": TOOLS[name].summary,
                "kind": TOOLS[name].kind,
                "tolerance": str(TOOLS[name].tolerance),
            }
            for name in self.cells
        ]
        cells = {t: {f: outcome.to_json() for f, outcome in row.items()} for t, row in self.cells.items()}
        return {"versions": dict(self.versions), "tools": tools, "cells": cells}

    def updated(self, part: Matrix) -> Matrix:
        """Returns the matrix with the cells of ``part`` in place of its own; rows and columns in the table's order."""
        cells = {
            tool: {f: row[f] for f in COLUMNS if f in row}
            for tool in TOOLS
            if (row := {**self.cells.get(tool, {}), **part.cells.get(tool, {})})
        }
        return Matrix({**self.versions, **part.versions}, cells)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Matrix:
        """Returns the matrix that was written so."""
        cells = {t: {f: Outcome.from_json(cell) for f, cell in row.items()} for t, row in data["cells"].items()}
        return Matrix(data["versions"], cells)


def build(tools: Iterable[str], files: Sequence[str], folder: Path, progress: Progress) -> Matrix:
    """Returns what comes of the tools on the files.

    Args:
        tools: names of rows.
        files: names of columns.
        folder: where the files are exported to.
        progress: called with (what, done, total).

    Raises:
        ModuleNotFoundError: a tool is not installed.
        ValueError: there is no such tool or file.
    """
    rows = [_named(name) for name in tools]
    versions = versions_of(rows)
    columns = []
    for number, name in enumerate(files):
        progress(f"exports {name}", number, len(files))
        columns.append(export_column(name, folder))
    cells: dict[str, dict[str, Outcome]] = {}
    with Worker() as worker:
        for number, tool in enumerate(rows):
            cells[tool.name] = {}
            for place, column in enumerate(columns):
                progress(tool.name, number * len(columns) + place, len(rows) * len(columns))
                cells[tool.name][column.name] = worker.run(tool, column)
    return Matrix(versions, cells)


def versions_of(tools: Iterable[Tool]) -> dict[str, str]:
    """Returns the versions of all packages that take part, and of Python.

    Raises:
        ModuleNotFoundError: one is not installed.
    """
    ours = Tool("rr-export", PARTS, "", lambda source, target: None)
    found: dict[str, str] = {}
    for tool in (ours, *tools):
        found |= tool.versions()
    machine = f"{platform.system()} {platform.machine()}"
    found = {package: number.partition("+")[0] for package, number in found.items()}  # whatever torch was built for
    return {**dict(sorted(found.items())), "Python": platform.python_version(), "machine": machine}


def differences(recorded: Mapping[str, Any], found: Matrix) -> list[str]:
    """Returns one sentence per cell that came out otherwise than recorded; reasons are not compared."""
    failures: list[str] = []
    for tool, row in found.cells.items():
        for file, outcome in row.items():
            before = recorded["cells"].get(tool, {}).get(file)
            told = _told(outcome.outcome, outcome.codes)
            if before is None:
                failures.append(f"{tool}, {file}: expected a recorded outcome, got none; run `python -m survival`")
            elif (expected := _told(before["outcome"], before["codes"])) != told:
                failures.append(f"{tool}, {file}: expected {expected}, got {told}: {outcome.reason}")
    return failures


def silent(found: Matrix) -> list[str]:
    """Returns one sentence per cell whose file is another model without anybody saying so."""
    return [
        f"{tool}, {file}: {outcome.reason}"
        for tool, row in found.cells.items()
        for file, outcome in row.items()
        if outcome.outcome == SILENT
    ]


def _told(outcome: str, codes: Iterable[str]) -> str:
    return " ".join([outcome, *codes])


def _named(name: str) -> Tool:
    if name not in TOOLS:
        raise ValueError(f"tool: expected one of {', '.join(TOOLS)}, got {name!r}; choose one")
    return TOOLS[name]
