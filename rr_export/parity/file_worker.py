"""Compares two files on the user's inputs in other processes, each of which opens both once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rr_export.parity.data_check import InputTask
from rr_export.parity.input_result import compare_on_input
from rr_export.parity.open_once import open_once
from rr_export.parity.subject import Answering, File, Original
from rr_export.parity.terms import Terms, silent

Opens = Callable[[], tuple[File, Answering]]


@dataclass(frozen=True)
class FileWorker:
    """Compares on an input in whatever process it is called.

    Attributes:
        opens: opens the bundle's own file, and what is compared with it; picklable, and equal where it opens the same.
        terms: what counts as equal.
    """

    opens: Opens
    terms: Terms

    def __call__(self, task: InputTask) -> dict[str, Any]:
        """Returns the result on an input, JSON-ready; what the task is given are arrays by name."""
        original, other = _opened(self.opens)
        return asdict(compare_on_input(task.number, Original(original, task.given), other, task.paths, self.terms))


def file_worker(opens: Opens, terms: Terms) -> Callable[[Path], tuple[FileWorker, Callable[[Original], Any]]]:
    """Returns what makes the work for other processes.

    Args:
        opens: as of ``FileWorker``; the places that it knows are absolute.
        terms: what counts as equal.
    """
    worker = FileWorker(opens, replace(terms, progress=silent))
    return lambda scratch: (worker, lambda reference: dict(reference.inputs))


@open_once
def _opened(opens: Opens) -> tuple[File, Answering]:
    return opens()
