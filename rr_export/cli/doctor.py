"""``rr-export doctor``: the execution providers here, and what each would do with a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rr_export.cli.console import MISMATCH, end, out, progress
from rr_runtime.strict_json import strict_json


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--provider", "providers", multiple=True, metavar="P", help="Only this provider; repeat for several.")
@click.option("--target", help="Which form of the model (default: the one that fits the provider).")
@click.option(
    "--python", type=click.Path(path_type=Path), help="The Python of another environment, which is looked at."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def doctor(
    bundle: Path | None, providers: Sequence[str], target: str | None, python: Path | None, as_json: bool
) -> None:
    """Tell which execution providers work here, and what each would do with BUNDLE.

    Every provider is tried in a process of its own. Exits with 1 if one that works here does not open BUNDLE, or its
    golden cases do not hold on it.
    """
    from rr_export.tools.doctor import doctor_view
    from rr_export.tools.measuring import measure

    if target is not None and bundle is None:
        raise click.UsageError("--target: expected BUNDLE beside it, got none; name the bundle")
    arguments = ["doctor", *([str(bundle)] if bundle else [])]
    arguments += [part for name in providers for part in ("--provider", name)]
    arguments += ["--target", target] if target else []
    with progress("asking") as tell:
        result = measure(arguments, python=python, progress=tell)
    if as_json:
        click.echo(strict_json(result, indent=1))
    else:
        for part in doctor_view(result):
            out.print(part)
    end(0 if result["holds"] else MISMATCH)
