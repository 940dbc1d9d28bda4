"""``rr-export menu``: the measured profiles of a bundle, and what budgets take."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import HOLDS, end, err, out
from rr_export.report.earlier import EARLIER
from rr_runtime.strict_json import strict_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png or .svg.")
def menu(bundle: Path, as_json: bool, plot: Path | None) -> None:
    """Print the menu of BUNDLE: its measured profiles by cost, which are best for it, and which a budget takes.

    `rr-export run BUNDLE --budget 0.5` takes one. Folders for a device have the menu of the bundle that they were made
    from.
    """
    from rr_export.tools.menu import menu_of
    from rr_export.tools.menu_plot import plot_menu
    from rr_export.tools.plot import SUFFIXES, require_matplotlib
    from rr_runtime.bundle import open_bundle
    from rr_runtime.file_places import check_report_file

    if plot is not None:
        if plot.suffix.lower() not in SUFFIXES:
            raise click.UsageError(f"--plot: expected a name that ends in .png or .svg, got {plot}; rename it")
        check_report_file(plot, option="--plot", earlier=EARLIER["menu"])
        require_matplotlib()
    found = menu_of(open_bundle(bundle).manifest)
    if plot is not None:
        plot_menu(found, plot, title=f"{bundle.name}: the menu")
    if as_json:
        click.echo(strict_json(found.to_json(), indent=1))
        end(HOLDS)
    if found.rows:
        out.print(found.table(str(bundle)))
    if found.others or not found.rows:
        others = ", ".join(found.others) or "none"
        out.print(f"profiles of which nothing was measured: {escape(others)}", soft_wrap=True)
    if len(found.metrics) > 1:
        err.print(
            f"[yellow]warning:[/] a budget compares qualities of several metrics ({escape(', '.join(found.metrics))}); "
            "measure all profiles by one",
            soft_wrap=True,
        )
    end(HOLDS)
