"""``rr-export bench``: what runs of a bundle cost."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import MISMATCH, end, err, out, progress
from rr_export.report.earlier import EARLIER
from rr_runtime.strict_json import strict_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(min=10), default=200, show_default=True, help="Timed rounds.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--provider", "providers", multiple=True, default=["cpu"], show_default=True, help="Repeat to compare several."
)
@click.option(
    "--target", "targets", multiple=True, help="Which form of the model; repeat (default: the one that fits)."
)
@click.option("--profile", "profiles", multiple=True, help="Time runs by this law of the bundle too; repeat.")
@click.option(
    "--loads", type=click.IntRange(min=0), default=3, show_default=True, help="Processes that load it; 0: none."
)
@click.option("--frozen/--no-frozen", default=True, help="Compare with the static file of the most probable path.")
@click.option("--seed", type=click.IntRange(min=0), help="The first of the seeds (default: a fresh one).")
@click.option("--python", type=click.Path(path_type=Path), help="The Python of another environment, where it runs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all figures there.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw them: .png or .svg.")
@click.option("--record", is_flag=True, help="Find and keep what is fastest here for Session(provider='auto').")
def bench(
    bundle: Path, runs: int, threads: int, providers: Sequence[str], targets: Sequence[str], profiles: Sequence[str],
    loads: int, frozen: bool, seed: int | None, python: Path | None, json_file: Path | None, plot: Path | None,
    record: bool,
) -> None:  # fmt: skip
    """Time BUNDLE with the inputs of its first golden case: the law over paths, each branch, loading and memory.

    All forms on all providers are timed in the same interleaved rounds. Exits with 1 if one of them does not run.
    """
    from rr_export.bundle.atomic_write import write_atomically
    from rr_export.tools.bench import bench_view, freeze_usual, why_not_frozen
    from rr_export.tools.measuring import measure
    from rr_export.tools.plot import check_picture, plot_bench
    from rr_runtime.file_places import check_report_file

    if plot is not None:
        check_picture(plot)
    if json_file is not None:
        check_report_file(json_file, option="--json", earlier=EARLIER["json"])
    arguments = ["bench", str(bundle), "--runs", str(runs), "--threads", str(threads), "--loads", str(loads)]
    arguments += [part for name in providers for part in ("--provider", name)]
    arguments += [part for name in targets for part in ("--target", name)]
    arguments += [f"--profile={name}" for name in profiles]
    arguments += ["--seed", str(seed)] if seed is not None else []
    arguments += ["--record"] if record else []
    missing = why_not_frozen(bundle) if frozen else None
    if missing is not None:
        err.print(f"[yellow]warning:[/] no frozen path is timed: {escape(missing)}", soft_wrap=True)
    with progress("timing") as tell, tempfile.TemporaryDirectory() as scratch:
        if frozen and missing is None:
            path, folder = freeze_usual(bundle, Path(scratch))
            arguments += [f"--usual={','.join(map(str, path))}", "--frozen", str(folder)]
        result = measure(arguments, python=python, progress=tell)
    for part in bench_view(result):
        out.print(part)
    if json_file is not None:
        write_atomically(json_file, strict_json(result, indent=1).encode())
    if plot is not None:
        plot_bench(result, plot)
    end(0 if result["holds"] else MISMATCH)
