"""``python -m benchmarks [NAME|all]``: prints every ratio with its target; the names are those of ``BENCHMARKS``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from benchmarks import budgets, cost, fusions, latency, overhead, search, sites, size, start, sweeps
from benchmarks.table import Section

# rounds by default: a timed run takes milliseconds, an export many seconds
BENCHMARKS: Mapping[str, tuple[Callable[..., Section], int]] = {
    "latency": (latency.measure, 200),
    "sites": (sites.measure, 300),
    "overhead": (overhead.measure, 300),
    "fusions": (fusions.measure, 15),
    "cost": (cost.measure, 3),
    "size": (size.measure, 1),
    "start": (start.measure, 10),
    "sweeps": (sweeps.measure, 5),
    "budgets": (budgets.measure, 300),
    "search": (search.measure, 6),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("which", type=click.Choice([*BENCHMARKS, "all"]), default="all")
@click.option("--runs", type=click.IntRange(min=1), help="Rounds of each benchmark (default: its own number).")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(which: str, runs: int | None, json_file: Path | None) -> None:
    """Measure ratios against peers. Exits with 0 whether or not targets are met."""
    console = Console()
    found: dict[str, Section] = {}
    for name in BENCHMARKS if which == "all" else (which,):
        measure, rounds = BENCHMARKS[name]
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(name, total=None)

            def tell(stage: str, done: int, total: int, bar: Progress = bar, task: int = task) -> None:
                bar.update(task, description=stage, completed=done, total=total)  # type: ignore[arg-type]

            found[name] = measure(runs=runs or rounds, progress=tell)
        console.print(found[name].table())
    if json_file is not None:
        json_file.write_text(json.dumps({name: section.to_json() for name, section in found.items()}, indent=1))


if __name__ == "__main__":
    main()
