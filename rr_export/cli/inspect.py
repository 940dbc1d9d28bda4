"""``rr-export inspect``: all that is known of a bundle, in the terminal."""

from __future__ import annotations

import click

from rr_export.cli.console import MISMATCH, end, out
from rr_export.cli.known_options import KnownOptions, known_options
from rr_runtime.strict_json import strict_json


@click.command()
@known_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def inspect(known: KnownOptions, as_json: bool) -> None:
    """Print the sites of BUNDLE, its expected cost per run, and whether it keeps the graph contract.

    And what else is known of it: the law of cost over paths, quality against cost, the importance of branches, chains,
    and what was proven. FILES are figures that are not kept in a bundle, as for `rr-export report`, which makes a page
    of the same.
    """
    from rr_export.overview.terminal import terminal_view

    overview = known.gather()
    if as_json:
        click.echo(strict_json(overview.to_json(), indent=1))
    else:
        for part in terminal_view(overview):
            out.print(part)
    end(0 if overview.inspection.sound else MISMATCH)
