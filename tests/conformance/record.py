"""What came of all runners, as data that is written, read, and put together from what can be run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.conformance.runner import Cell, Column


@dataclass(frozen=True)
class Record:
    """The whole table.

    Attributes:
        summaries: of the cases, by name.
        columns: by the name of the runner.
    """

    summaries: Mapping[str, str]
    columns: Mapping[str, Column]

    def to_json(self) -> dict[str, Any]:
        """Returns it JSON-ready."""
        columns = {
            name: {
                "versions": dict(column.versions),
                "cells": {cell: _plain(found) for cell, found in column.cells.items()},
            }
            for name, column in self.columns.items()
        }
        return {"cases": dict(self.summaries), "runners": columns}

    def updated(self, summaries: Mapping[str, str], columns: Mapping[str, Column]) -> Record:
        """Returns it with these columns in place of its own; those that were not run stay as they are."""
        return Record(summaries, {**self.columns, **columns})

    def filled(self, name: str, column: Column) -> Column:
        """Returns the column with what is recorded of the cases that were not run.

        Raises:
            ValueError: they were run by other versions.
        """
        recorded, run = self.columns.get(name, Column()), {_case(cell) for cell in column.cells}
        others = {cell: found for cell, found in recorded.cells.items() if _case(cell) not in run}
        if others and column.versions != recorded.versions:
            raise ValueError(
                f"{name}: expected the versions of the recorded cells, {dict(recorded.versions)}, got "
                f"{dict(column.versions)}; run all cases"
            )
        return Column(column.versions, dict(sorted({**others, **column.cells}.items(), key=lambda row: _case(row[0]))))

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Record:
        """Returns the record that was written so."""
        columns = {
            name: Column(row["versions"], {cell: Cell(**found) for cell, found in row["cells"].items()})
            for name, row in data["runners"].items()
        }
        return Record(data["cases"], columns)


def _case(cell: str) -> str:
    return cell.partition(":")[0]


def _plain(cell: Cell) -> dict[str, Any]:
    """What is not as usual; errors with two digits, as more of them differ from run to run."""
    kept = {key: value for key, value in asdict(cell).items() if value or key == "outcome"}
    return kept | ({"error": float(f"{cell.error:.1e}")} if cell.error else {})
