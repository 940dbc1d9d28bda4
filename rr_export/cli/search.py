"""``rr-export search``: the paths of a bundle of which none is both better and cheaper."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import HOLDS, end, out, progress
from rr_export.cli.costs_option import CostOptions, cost_options
from rr_export.cli.users_batches import UsersBatches
from rr_export.cli.users_code import load_function
from rr_export.report.earlier import EARLIER
from rr_runtime.strict_json import strict_json

METHODS = ("auto", "exact", "greedy", "beam", "evolutionary")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="MODULE:FUNCTION", help="Returns batches (inputs by name, target).")
@click.option(
    "--metric", required=True, metavar="MODULE:FUNCTION", help="From outputs and target to a number, or rows."
)
@cost_options
@click.option(
    "--evaluations", type=click.IntRange(min=4), metavar="N", help="Paths that may be evaluated (default: 256)."
)
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same gives the same paths.")
@click.option("--jobs", type=int, metavar="N", help="Processes that evaluate, -1: one for each core (default: one).")
@click.option("--results", type=click.Path(path_type=Path), metavar="FILE", help="Keep the value of every path there.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all paths there.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw them: .png or .svg.")
@click.option("--menu", is_flag=True, help="Give BUNDLE a profile for every quarter of the cost, with its quality.")
def search(
    bundle: Path, data: str, metric: str, costs: CostOptions, evaluations: int | None, method: str, seed: int,
    jobs: int | None, results: Path | None, json_file: Path | None, plot: Path | None, menu: bool,
) -> None:  # fmt: skip
    """Search the paths of BUNDLE of which none is both better and cheaper, by a metric of yours.

    Every path is evaluated once, on all of the data. An interrupted search goes on with --results. --menu writes
    profiles such as 50% into the bundle, from which `rr-export run BUNDLE` and sessions take one by a budget; its model
    files stay as they are.
    """
    from rr_export.bundle.atomic_write import write_atomically
    from rr_export.bundle.bundle_reader import load
    from rr_export.quality.front_plot import plot_front
    from rr_export.quality.searching import search as run_search
    from rr_export.tools.plot import check_picture
    from rr_runtime.file_places import check_file_place, check_report_file

    if jobs == 0:
        raise click.UsageError("--jobs: expected a number of workers, or -1 for one for each core, got 0; write 1")
    if menu and not bundle.is_dir():
        raise click.UsageError(f"--menu: expected a bundle folder, got {bundle}, which is none; only a folder has room")
    if plot is not None:
        check_picture(plot)
    if json_file is not None:
        check_report_file(json_file, option="--json", earlier=EARLIER["json"])
    if results is not None:
        check_file_place(results, option="--results")
    loaded = load(bundle)
    prices, judge = costs.read(loaded), load_function(metric, where="--metric", arguments=2)
    with progress("searching") as tell:
        front = run_search(
            loaded.path or bundle, UsersBatches(data), judge, prices,
            evaluations=evaluations, method=method, seed=seed, jobs=jobs, results=results, progress=tell,
        )  # fmt: skip
    out.print(front.table())
    if json_file is not None:
        write_atomically(json_file, strict_json(front.to_json(), indent=1).encode())
    if plot is not None:
        plot_front(front, plot, title=bundle.name)
    if menu:
        made = front.menu(loaded)
        names = ", ".join(name for name, profile in made.profiles.items() if loaded.profiles.get(name) != profile)
        made.save(loaded.path or bundle, overwrite=True)
        out.print(
            f"{escape(str(bundle))}: profiles {names or 'as before'}; not proven yet: "
            f"rr-export verify {escape(str(bundle))} MODEL",
            soft_wrap=True,
        )
    end(HOLDS)
