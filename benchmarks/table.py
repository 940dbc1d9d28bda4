"""Measured rows, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from rr_runtime.tools.timing import Spread


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        what: what was measured, over what.
        value: median and quartiles, in ``unit``.
        target: the value must not exceed it; None: for comparison only.
        unit: "" for a ratio.
    """

    what: str
    value: Spread
    target: float | None = None
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median is within the target, None without one."""
        return None if self.target is None else self.value.median <= self.target


@dataclass(frozen=True)
class Section:
    """The rows of one benchmark, and what they were measured with."""

    title: str
    rows: Sequence[Row]
    caption: str

    def table(self) -> Table:
        """Returns the rows as a table."""
        table = Table(title=self.title, caption=self.caption)
        table.add_column("what")
        for column in ("median", "quartiles", "target", "met"):
            table.add_column(column, justify="right")
        for row in self.rows:
            unit = f" {row.unit}" if row.unit else ""
            table.add_row(
                row.what,
                f"{row.value.median:.3f}{unit}",
                f"{row.value.low:.3f} - {row.value.high:.3f}",
                "" if row.target is None else f"<= {row.target:g}{unit}",
                {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[row.met],
            )
        return table

    def to_json(self) -> Mapping[str, Any]:
        """Returns the rows as a JSON-ready dictionary."""
        return {
            "title": self.title,
            "caption": self.caption,
            "rows": [{**asdict(row), "met": row.met} for row in self.rows],
        }
