"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table whose columns are as wide as what is in them; the last one is not padded."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]  # noqa: B905
    lines.insert(1, "  ".join("-" * min(width, 60) for width in widths))
    return "\n".join(lines)
