"""CoreML and NNAPI, which no machine here has: what can be said of their files without running them.

Counted are the nodes that each would take by onnxruntime's usability checker and the rules for branches
(``rr_export.targets.mobile``). Each file is also converted to the ``.ort`` format that mobile builds read and opened
there on the CPU, and the options are those that rr_runtime would set.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime

from rr_export.targets.mobile import mobile_report
from rr_export.targets.ort_files import to_ort
from rr_runtime.provider_options import options_of
from tests.conformance.runner import CASES, CHECKED, DEFAULT, FAILS, Cell, Column


@dataclass(frozen=True)
class Checked:
    """A column that is checked and not run.

    Attributes:
        name: of the column, and the short name of the execution provider.
        provider: onnxruntime's name of it.
        engine: the checker's name of it.
        rule: which nodes count as taken.
    """

    name: str
    provider: str
    engine: str
    rule: str


COREML = Checked("coreml", "CoreMLExecutionProvider", "coreml mlprogram", "nodes of branches count as taken")
NNAPI = Checked("nnapi", "NnapiExecutionProvider", "nnapi", "nodes of branches do not count as taken")
MOBILE = {column.name: column for column in (COREML, NNAPI)}


def check_column(checked: Checked, cells: Sequence[str], folder: Path = CASES) -> Column:
    """Returns what is known of each cell without running it."""
    options = options_of(checked.provider, None)
    told = ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
    versions = {"onnxruntime": onnxruntime.__version__, "options": told or "none"}
    return Column(versions, {cell: _check(checked, cell, folder) for cell in cells})


def mobile_cells(checked: Checked, folder: Path = CASES) -> list[str]:
    """Returns the cells of the column: the default file of every case that is an ONNX file, and its own targets."""
    cells = []
    for case in sorted(path.parent.name for path in folder.glob("*/manifest.json")):
        targets = json.loads((folder / case / "manifest.json").read_text()).get("targets", {})
        mine = [name for name, entry in targets.items() if entry["provider"] == checked.name]
        own = [name for name in mine if all(file.suffix == ".onnx" for file in files_of(folder / case, name))]
        cells += [f"{case}:{target}" for target in (DEFAULT, *own)]
    return cells


def _check(checked: Checked, cell: str, folder: Path) -> Cell:
    case, _, target = cell.partition(":")
    models = {file.name: ir.load(file) for file in files_of(folder / case, target)}
    try:
        written, _ = to_ort(models, "runtime")
        for content in written.values():
            onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (use,) = (use for use in mobile_report(models) if use.engine == checked.engine)
    except Exception as error:  # whatever the converter or the checker raises
        return Cell(FAILS, reason=f"{type(error).__name__}: {error}")
    return Cell(CHECKED, nodes_on=use.taken, nodes=use.nodes)


def files_of(folder: Path, target: str) -> list[Path]:
    """Returns the model files of a target, or of the default."""
    if target == DEFAULT:
        return [folder / "model.onnx"]
    entry = json.loads((folder / "manifest.json").read_text())["targets"][target]
    return [folder / name for name in dict.fromkeys(_models_in(entry))]


def _models_in(entry: Any) -> list[str]:
    if isinstance(entry, dict):
        own = [entry[key] for key in ("model", "run") if isinstance(entry.get(key), str)]
        return own + [name for value in entry.values() for name in _models_in(value)]
    return [name for value in entry for name in _models_in(value)] if isinstance(entry, list) else []
