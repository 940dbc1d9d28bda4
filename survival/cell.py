"""One cell of the matrix: a tool on a file, and what came of it. Everything here runs in a worker process."""

from __future__ import annotations

import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

import rr_export as rr
from rr_export.bundle.manifest import METADATA_KEY
from survival.check import check
from survival.engines import UnusableError
from survival.files import Column
from survival.reference import Files, Reference, with_path_as
from survival.tool import Tool

HOLDS, REFUSES, NO_LOAD, NO_RUN, CAUGHT, SILENT = (
    "holds",
    "refuses",
    "does not load",
    "fails when run",
    "caught",
    "silent",
)
OUTCOMES = (HOLDS, REFUSES, NO_LOAD, NO_RUN, CAUGHT, SILENT)
NOISE = (
    r"\[ONNXRuntimeError\] : \d+ : \w+ : ",
    r"Load model from \S+ failed:",
    r"\S+\.(cc|h):\d+ ([\w:]+ )*[\w:]+\([^)]*\) ?",
    r"This is an invalid model\. ",
    r"In Node, \(.*\) -> \(.*?\) *, ",
    r"Exception from \S+:\d+:",
    r"Check '.*' failed at \S+:\d+:",
)
WIDTH = 240  # characters of a reason that are kept


@dataclass(frozen=True)
class Outcome:
    """What came of one cell.

    Attributes:
        outcome: one of ``OUTCOMES``.
        reason: why it does not hold; empty where it does.
        codes: of the linter's errors about the written file.
        changed: whether the tool changed nodes or weights at all; None where that cannot be read.
        manifest: whether the written file still has its manifest; None where that cannot be read.
        before: whether the path had to be made an input before the tool ran, because its name was gone after.
    """

    outcome: str
    reason: str = ""
    codes: tuple[str, ...] = ()
    changed: bool | None = None
    manifest: bool | None = None
    before: bool = field(default=False)

    def to_json(self) -> dict[str, Any]:
        """Returns it JSON-ready."""
        return {**asdict(self), "codes": list(self.codes)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Outcome:
        """Returns the outcome that was written so."""
        return Outcome(**{**data, "codes": tuple(data["codes"])})


def run_cell(tool: Tool, column: Column, stage: Callable[[str], None]) -> Outcome:
    """Returns what comes of the tool on the file.

    Args:
        tool: the row.
        column: the exported file.
        stage: told "tool" and "check" when they begin, so that whoever watches knows what crashed.
    """
    with tempfile.TemporaryDirectory(prefix="survival.") as name:
        return _run_in(Path(name), tool, column, stage)


def _run_in(scratch: Path, tool: Tool, column: Column, stage: Callable[[str], None]) -> Outcome:
    source = scratch / "source.onnx"
    shutil.copyfile(column.file, source)
    stage("tool")
    try:
        target = _apply(tool, source, scratch / f"target{tool.suffix}")
    except Exception as error:
        return Outcome(REFUSES, _short(f"{type(error).__name__}: {error}", scratch))
    stage("check")
    before = False

    def twin(side: str) -> Path:
        nonlocal before
        before = True
        twin_source = scratch / f"{side}.onnx"
        ir.save(with_path_as(column.file, side), twin_source)
        try:
            return _apply(tool, twin_source, scratch / f"{side}.target{tool.suffix}")
        except Exception as error:
            raise UnusableError("load", error) from error

    changed, manifest = _compared(source, target)
    try:
        failures = check(
            Files(target, tool.engine, twin), reference_of(column), tool.tolerance, fixed_batch=tool.fixes_batch
        )
    except UnusableError as error:
        outcome = {"load": NO_LOAD, "run": NO_RUN}[error.stage]
        return Outcome(outcome, _short(str(error), scratch), (), changed, manifest, before)
    codes = _errors(target, source, tool.engine)
    if not failures:
        return Outcome(HOLDS, "", codes, changed, manifest, before)
    outcome = CAUGHT if codes else SILENT
    return Outcome(outcome, _short(failures[0], scratch), codes, changed, manifest, before)


@cache
def reference_of(column: Column) -> Reference:
    """Returns what the exported file gives; computed once per process."""
    return Reference(rr.load(column.file), column.inputs())


def _apply(tool: Tool, source: Path, target: Path) -> Path:
    onnxruntime.set_seed(0)  # some tools run the file to calibrate
    np.random.seed(0)
    tool.run(source, target)
    if not target.exists():
        raise FileNotFoundError("nothing was written")
    return target


def _errors(target: Path, source: Path, engine: str) -> tuple[str, ...]:
    """The codes of the linter's errors; engines that read the file themselves are asked about that file."""
    from rr_export.errors import LintError
    from rr_export.lint.linter import lint

    try:
        findings = lint(source, engine="openvino") if engine == "openvino" else lint(target)
    except LintError:
        return ("unreadable",)
    return tuple(sorted({f.code for f in findings if f.severity == "error"}))


def _compared(source: Path, target: Path) -> tuple[bool | None, bool | None]:
    """Whether nodes or weights differ, and whether the manifest is still there."""
    if target.suffix != ".onnx":
        return None, None
    try:
        a, b = ir.load(source), ir.load(target)
    except Exception:  # what cannot be read is reported by the check
        return None, None
    return _contents(a) != _contents(b), METADATA_KEY in b.metadata_props


def _contents(model: ir.Model) -> Counter[Any]:
    """Operators with the names of their attributes, and weights."""
    found: Counter[Any] = Counter()
    found[tuple(sorted(model.opset_imports.items()))] += 1
    graphs = [model.graph, *(g for g in model.graph.subgraphs())]
    for graph in graphs:
        for value in graph.initializers.values():
            tensor = value.const_value
            found[("weight", str(value.dtype), None if tensor is None else zlib.crc32(tensor.tobytes()))] += 1
        for node in graph:
            plain = sorted(a.name for a in node.attributes.values())
            found[(node.domain, node.op_type, tuple(plain), len(node.inputs), len(node.outputs))] += 1
    return found


def _short(text: str, scratch: Path) -> str:
    """The first line that says something, without places on this machine and what all of an engine's errors say."""
    text = text.replace(str(scratch), "").replace("/target", "target").replace("/source", "source")
    for noise in NOISE:
        text = re.sub(noise, "", text)
    line, *rest = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    while line.endswith(":") and rest:
        line = f"{line} {rest.pop(0)}"
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
