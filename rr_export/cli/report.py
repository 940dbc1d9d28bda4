"""``rr-export report``: all that is known of a bundle, as one page."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import HOLDS, end, out
from rr_export.cli.known_options import KnownOptions, known_options

SUFFIXES = (".html", ".htm")


@click.command()
@known_options
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the page there: .html.",
)
@click.option("--overwrite", "-f", is_flag=True, help="Replace that file.")
def report(known: KnownOptions, output: Path, overwrite: bool) -> None:
    """Write all that is known of BUNDLE as one page of HTML that opens offline.

    FILES are figures that are not kept in a bundle, each known by what is in it: what `bench`, `search`, `attribute`,
    `verify --against` and `doctor` write with --json, what `rr-runtime check --json` prints on a device, and the
    --results of a search. What is missing is said with the command that makes it.
    """
    from rr_export.bundle.atomic_write import write_atomically
    from rr_export.overview.html_page import html_page
    from rr_export.tools.plot import require_matplotlib
    from rr_runtime.file_places import check_file_place

    if output.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--output: expected a name that ends in .html, got {output}; rename it")
    check_file_place(output, option="--output")
    if output.exists() and not overwrite:
        raise click.UsageError(f"{output}: expected no such file, got one; choose another name, or pass --overwrite")
    require_matplotlib("report")
    overview = known.gather()
    page = html_page(overview)
    write_atomically(output, page.encode())
    missing = [section.absent.command for section in overview.sections if section.absent is not None]
    out.print(
        f"{escape(str(output))}: {len(overview.sections)} sections, {len(page.encode()) / 1e3:.0f} kB",
        soft_wrap=True,
    )
    for command in missing:
        out.print(f"not known yet, made by: {escape(command)}", soft_wrap=True, style="dim")
    end(HOLDS)
