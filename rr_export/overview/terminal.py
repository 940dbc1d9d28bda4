"""What is known of a bundle, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from rr_export.overview.gathered import Overview


def terminal_view(overview: Overview) -> Iterator[RenderableType]:
    """Yields what is printed, section by section: sentences, tables, and in a line what is not known."""
    for section in overview.sections:
        yield Text.from_markup(f"\n[bold]{escape(section.title)}[/]")
        for sentence in section.says:
            yield Text(sentence)
        yield from section.tables
        if section.absent is not None:
            yield Text(str(section.absent), style="dim")
