"""``rr-export explain``: the page of an error, as the package carries it."""

from __future__ import annotations

from pathlib import Path

import click

from rr_export.cli.console import out
from rr_export.cli.error_pages import INDEX, NAMES, read_page


@click.command()
@click.argument("error", type=click.Choice(NAMES), required=False)
def explain(error: str | None) -> None:
    """Print what is said of ERROR: texts, why they come, and what to do; without ERROR, which errors there are.

    An error names its page in its last line.
    """
    text = read_page(error or Path(INDEX).stem)
    if not out.is_terminal:
        click.echo(text, nl=False)
        return
    from rich.markdown import Markdown

    out.print(Markdown(text))
