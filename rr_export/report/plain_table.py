"""Tables as plain text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

WIDTH = 110  # characters


def plain_table(*tables: Table) -> str:
    """Returns tables as plain text, one below the other."""
    console = Console(width=WIDTH, no_color=True)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return captured.get()
