"""What a run of pytest has proven, from all its processes, as one file of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rr_export.report.report import Check

RECORD = pytest.StashKey["ProofRecord"]()


class ProofRecord:
    """The checks that were made, by what was proven; in plain lists and texts, which a worker can hand over."""

    def __init__(self) -> None:
        self.rows: dict[str, list[list[Any]]] = {}

    def add(self, subject: str, checks: Sequence[Check]) -> None:
        """These checks were made."""
        rows = [[c.name, c.passed, c.summary, list(c.failures)] for c in checks]
        self.rows.setdefault(subject, []).extend(rows)

    @contextmanager
    def failing(self, subject: str, name: str) -> Iterator[None]:
        """What is raised in the block is recorded as something that does not hold."""
        try:
            yield
        except Exception as error:
            text = f"expected a proof, got {type(error).__name__}: {error}"
            self.rows.setdefault(subject, []).append([name, False, "not compared", [text]])
            raise

    def take(self, rows: Mapping[str, list[list[Any]]]) -> None:
        """What another process has recorded is here too."""
        for subject, found in rows.items():
            self.rows.setdefault(subject, []).extend(found)

    def write(self, place: Path) -> None:
        """All proofs are added to the file as Markdown: a job's summary has room for several."""
        from importlib.metadata import version

        from rr_export.report.markdown import markdown
        from rr_export.report.report import Check, Report

        versions = {name: version(name) for name in ("rr-export", "pytest")}
        reports = [
            Report(tuple(Check(n, p, s, tuple(f)) for n, p, s, f in rows), subject, versions)
            for subject, rows in sorted(self.rows.items())
        ]
        text = (
            "\n".join(map(markdown, reports)) or "No test asked for a proof that a model and its file are the same.\n"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="utf-8") as file:
            file.write(text)
