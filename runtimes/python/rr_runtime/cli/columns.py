"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table whose columns are as wide as what is in them; the last one is not padded."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]  # noqa: B905
    lines.insert(1, "  ".join("-" * min(width, 60) for width in widths))
    return "\n".join(lines)


def machine_text(machine: Mapping[str, Any]) -> str:
    """Returns processor and versions in words."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['architecture']}, {machine['system']}; "
        f"{machine['package']} {machine['onnxruntime']}, numpy {machine['numpy']}, Python {machine['python']}"
    )


def warning_texts(warnings: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns two lines for each warning: what was found, and the remedy."""
    return [line for w in warnings for line in (f"warning: {w['text']}", f"  remedy: {w['remedy']}")]
