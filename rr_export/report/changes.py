"""What changed from one model to another, aspect by aspect: a table, JSON, Markdown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from rr_export.report.markdown import as_markdown_text
from rr_export.report.plain_table import plain_table
from rr_runtime.one_line import cut_to_line

ASPECTS = ("sites", "laws", "paths", "weights", "graph", "outputs", "size", "latency")
SHOWN = 8  # details of an aspect in a table


@dataclass(frozen=True)
class Aspect:
    """One way in which two models may differ.

    Attributes:
        name: one of ``ASPECTS``.
        changed: whether it did; None where it could not be compared.
        summary: what it was before and is now, in one line.
        details: what changed, a line each.
        figures: the numbers behind that (JSON-ready).
    """

    name: str
    changed: bool | None
    summary: str
    details: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        result = {True: "changed", False: "same", None: "not compared"}[self.changed]
        return cut_to_line(f"Aspect({self.name} {result}: {self.summary})")


@dataclass(frozen=True)
class Changes:
    """All aspects of two models.

    Attributes:
        before, after: what they are called.
        aspects: in the order of ``ASPECTS``, those that there are.
    """

    before: str
    after: str
    aspects: tuple[Aspect, ...]

    def __repr__(self) -> str:
        """Shows what changed, or could not be compared."""
        changed = ", ".join(self.changed()) or "nothing"
        return cut_to_line(f"Changes({changed} of {len(self.aspects)} aspects: {self.before} -> {self.after})")

    def changed(self, names: Collection[str] | None = None) -> list[str]:
        """Returns which of some aspects changed, or were not compared; None: of all that there are."""
        same = {aspect.name for aspect in self.aspects if aspect.changed is False}
        asked = [aspect.name for aspect in self.aspects] if names is None else [n for n in ASPECTS if n in names]
        return [name for name in asked if name not in same]

    def table(self) -> Table:
        """Returns the changes as a rich table."""
        table = Table(title=f"{escape(self.before)} -> {escape(self.after)}")
        table.add_column("aspect")
        table.add_column("result")
        table.add_column("before and now", overflow="fold")
        marks = {True: "[yellow]changed[/]", False: "[green]same[/]", None: "[dim]not compared[/]"}
        for aspect in self.aspects:
            lines = [aspect.summary, *aspect.details[:SHOWN]]
            if len(aspect.details) > SHOWN:
                lines.append(f"... and {len(aspect.details) - SHOWN} more")
            table.add_row(aspect.name, marks[aspect.changed], escape("\n".join(lines)))
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns the changes as a JSON-ready dictionary."""
        rows = [
            {
                "name": a.name,
                "changed": a.changed,
                "summary": a.summary,
                "details": list(a.details),
                "figures": dict(a.figures),
            }
            for a in self.aspects
        ]
        return {"format": "rr.changes", "version": 1, "before": self.before, "after": self.after, "aspects": rows}

    def markdown(self) -> str:
        """Returns the changes as Markdown."""
        marks = {True: "**changed**", False: "same", None: "not compared"}
        lines = [
            f"### {as_markdown_text(self.before)} → {as_markdown_text(self.after)}",
            "",
            "| aspect | result | before and now |",
        ]
        lines += ["|---|---|---|"]
        lines += [f"| {a.name} | {marks[a.changed]} | {as_markdown_text(a.summary)} |" for a in self.aspects]
        for aspect in self.aspects:
            if aspect.details:
                lines += ["", f"**{aspect.name}**", "", *(f"- {as_markdown_text(text)}" for text in aspect.details)]
        return "\n".join([*lines, ""])

    def __str__(self) -> str:
        """The table as plain text."""
        return plain_table(self.table())
