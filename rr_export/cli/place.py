"""``rr-export place``: which nodes of a bundle run where, and whether skipping saves time there."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import MISMATCH, end, err, out, progress
from rr_runtime.strict_json import strict_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--provider", default="cpu", show_default=True, help="Execution provider.")
@click.option("--target", help="Which form of the model (default: the one that fits the provider).")
@click.option("--runs", type=click.IntRange(min=0), default=50, show_default=True, help="Timed rounds; 0: none.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--python", type=click.Path(path_type=Path), help="The Python of another environment, where it runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with every node.")
def place(
    bundle: Path, provider: str, target: str | None, runs: int, threads: int, python: Path | None, as_json: bool
) -> None:
    """Tell which nodes of BUNDLE, inside which branch, run on which provider, and time each site's branches.

    Exits with 1 if nodes of a branch lie outside it, if a provider has taken a site's If whole and skipping saves
    nothing there that can be measured, or if the form does not run on the provider.
    """
    from rr_export.tools.measuring import measure
    from rr_export.tools.place import place_view
    from rr_runtime.tools.opening import Fails

    arguments = ["place", str(bundle), "--provider", provider, "--runs", str(runs), "--threads", str(threads)]
    arguments += ["--target", target] if target else []
    with progress("placing") as tell:
        try:
            result = measure(arguments, python=python, progress=tell)
        except Fails as error:
            err.print(f"[bold red]fails:[/] {escape(str(error))}", soft_wrap=True)
            end(MISMATCH)
    if as_json:
        click.echo(strict_json(result, indent=1))
    else:
        for part in place_view(result):
            out.print(part)
    end(0 if result["holds"] else MISMATCH)
