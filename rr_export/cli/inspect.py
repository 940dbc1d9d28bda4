"""``rr-export inspect``: the sites, cost and soundness of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rr_export.cli.console import MISMATCH, end, out
from rr_export.cli.options import read_sizes
from rr_runtime.strict_json import strict_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--size", "sizes", multiple=True, metavar="AXIS=N", help="Size of a dynamic axis, for counting FLOPs.")
@click.option("--json", "as_json", is_flag=True)
def inspect(bundle: Path, sizes: Sequence[str], as_json: bool) -> None:
    """Print the sites of BUNDLE, its expected cost per run, and whether it keeps the graph contract."""
    from rr_export.bundle.bundle_reader import load
    from rr_export.tools.inspection import inspect as run_inspect

    found = run_inspect(load(bundle), read_sizes(sizes))
    if as_json:
        click.echo(strict_json(found.to_json(), indent=1))
    else:
        for table in found.tables(str(bundle)):
            out.print(table)
    end(0 if found.sound else MISMATCH)
