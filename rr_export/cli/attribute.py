"""``rr-export attribute``: how much each site and branch of a bundle matters, by a metric of the user's."""

from __future__ import annotations

from pathlib import Path

import click

from rr_export.cli.console import HOLDS, end, out, progress
from rr_export.cli.options import read_path
from rr_export.cli.users_batches import UsersBatches
from rr_export.cli.users_code import load_function
from rr_export.report.earlier import EARLIER


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="MODULE:FUNCTION", help="Returns batches (inputs by name, target).")
@click.option(
    "--metric", required=True, metavar="MODULE:FUNCTION", help="From outputs and target to a number, or rows."
)
@click.option("--path", "path_text", metavar="1,0,-1", help="Around this path (default: the most probable one).")
@click.option("--baseline", metavar="0,0,0", help="A route for every site that others take (default: the law's).")
@click.option(
    "--permutations", type=click.IntRange(min=2), metavar="N", help="Random orders (default: all, where few sites)."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the orders and of draws.")
@click.option("--jobs", type=int, metavar="N", help="Processes that evaluate, -1: one for each core (default: one).")
@click.option("--results", type=click.Path(path_type=Path), metavar="FILE", help="Keep the value of every path there.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all of it there.")
def attribute(
    bundle: Path, data: str, metric: str, path_text: str | None, baseline: str | None, permutations: int | None,
    seed: int, jobs: int | None, results: Path | None, json_file: Path | None,
) -> None:  # fmt: skip
    """Tell how much each site and branch of BUNDLE matters for a metric of yours, around one path.

    Shapley values, exact where few sites are reached; what single changes of the path gain or lose; and how sites
    interact. Every path is evaluated once, on all of the data; an interrupted run goes on with --results, which
    `rr-export search` shares. `rr-export report` draws what --json writes.
    """
    from rr_export.bundle.bundle_reader import load
    from rr_export.quality.attribution import attribute as run_attribute
    from rr_runtime.file_places import check_file_place, check_report_file

    if jobs == 0:
        raise click.UsageError("--jobs: expected a number of workers, or -1 for one for each core, got 0; write 1")
    if json_file is not None:
        check_report_file(json_file, option="--json", earlier=EARLIER["json"])
    if results is not None:
        check_file_place(results, option="--results")
    loaded = load(bundle)
    judge = load_function(metric, where="--metric", arguments=2)
    with progress("attributing") as tell:
        found = run_attribute(
            loaded.path or bundle, UsersBatches(data), judge,
            path=read_path(path_text), baseline=read_path(baseline, "--baseline"), permutations=permutations,
            seed=seed, jobs=jobs, results=results, progress=tell,
        )  # fmt: skip
    out.print(found.table())
    if found.interactions:
        out.print(found.pairs())
    if json_file is not None:
        found.save(json_file)
    end(HOLDS)
