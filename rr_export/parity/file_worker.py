"""Compares a rewritten file with its bundle on the user's inputs in other processes, each of which opens both once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rr_export.bundle.bundle_reader import load
from rr_export.lint.reading import read
from rr_export.parity.data_check import InputTask
from rr_export.parity.input_result import compare_on_input
from rr_export.parity.open_once import open_once
from rr_export.parity.rewritten import Rewritten
from rr_export.parity.subject import File, Original
from rr_export.parity.terms import Terms, silent


@dataclass(frozen=True)
class FileWorker:
    """Compares on an input in whatever process it is called.

    Attributes:
        file: the rewritten file.
        bundle: where the bundle that it came from is.
        terms: what counts as equal.
    """

    file: Path
    bundle: Path
    terms: Terms

    def __call__(self, task: InputTask) -> dict[str, Any]:
        """Returns the result on an input, JSON-ready; what the task is given are arrays by name."""
        original, rewritten = _opened(self.file, self.bundle)
        return asdict(compare_on_input(task.number, Original(original, task.given), rewritten, task.paths, self.terms))


def file_worker(
    file: Path, folder: Path, terms: Terms
) -> Callable[[Path], tuple[FileWorker, Callable[[Original], Any]]]:
    """Returns what makes the work for other processes.

    Args:
        file: the rewritten file.
        folder: of the bundle that it came from.
        terms: what counts as equal.
    """
    worker = FileWorker(file.resolve(), folder.resolve(), replace(terms, progress=silent))
    return lambda scratch: (worker, lambda reference: dict(reference.inputs))


@open_once
def _opened(file: Path, folder: Path) -> tuple[File, Rewritten]:
    bundle = load(folder)
    return File(folder, bundle, threads=1), Rewritten(read(file), bundle, threads=1)
