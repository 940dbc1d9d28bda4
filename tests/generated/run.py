"""``python -m tests.generated``: judges random models, records each as it is done, and writes ``docs/generated.md``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from rr_export.bundle.atomic_write import write_atomically
from tests.generated.judge import CRASHED, INVALID, WRONG, Judged, Row
from tests.generated.numbers_kept import keep_numbers
from tests.generated.page import write_page
from tests.generated.workers import judge_all

ROOT = Path(__file__).resolve().parents[2]
PAGE, NUMBERS = ROOT / "docs" / "generated.md", ROOT / "docs" / "generated.json"
FAULTS = (WRONG, CRASHED, INVALID)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(1), help="How many models.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the first one.")
@click.option("--only", multiple=True, type=click.IntRange(0), metavar="SEED", help="Only this one; writes no page.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--seconds", default=120.0, show_default=True, help="For each model.")
@click.option(
    "--resume",
    "record",
    default=Path("out/generated/record.jsonl"),
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The record: one line for each model; those that it has are not judged again.",
)
@click.option(
    "--faults",
    default=Path("out/generated/faults"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the sources of wrong and crashed models go.",
)
@click.option("--page", default=PAGE, type=click.Path(dir_okay=False, path_type=Path), help="The page to write.")
@click.option(
    "--numbers",
    default=NUMBERS,
    type=click.Path(dir_okay=False, path_type=Path),
    help="What the page is made of; what it has of other models stays.",
)
def main(
    count: int,
    seed: int,
    only: tuple[int, ...],
    jobs: int,
    seconds: float,
    record: Path,
    faults: Path,
    page: Path,
    numbers: Path,
) -> None:
    """Export random programs and models of sites, and compare each with an oracle.

    Exits with 1 where a model is wrong or crashes. A run that was killed goes on where it was.
    """
    if only:
        found = list(judge_all(only, jobs=min(jobs, len(only)), seconds=seconds))
        for judged in found:
            click.echo(f"{judged.source}\n{judged.seed}: {judged.outcome} {judged.reason}".rstrip())
            keep_fault(judged, faults)
        sys.exit(any(j.outcome in FAULTS for j in found))
    seeds = range(seed, seed + count)
    rows = {row["seed"]: row for row in read_record(record) if row["seed"] in seeds}
    left = [s for s in seeds if s not in rows]
    record.parent.mkdir(parents=True, exist_ok=True)
    counts = Counter(row["outcome"] for row in rows.values())
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with record.open("a", encoding="utf-8") as lines, Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("random models", total=count, completed=len(rows))
        for judged in judge_all(left, jobs=jobs, seconds=seconds):
            row = {name: value for name, value in asdict(judged).items() if name != "source"}
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            keep_fault(judged, faults)
            rows[judged.seed] = row
            counts[judged.outcome] += 1
            told = ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common())
            bar.update(task, advance=1, description=told)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, write_page(keep_numbers(numbers, rows.values())).encode())
    bad = [row for row in rows.values() if row["outcome"] in FAULTS]
    for row in bad:
        click.echo(f"{row['seed']}: {row['outcome']} {row['reason'].strip().splitlines()[-1]}", err=True)
    sys.exit(bool(bad))


def read_record(record: Path) -> list[Row]:
    """Returns the rows of a record; the end of a line that was cut short by a kill is taken off the file."""
    if not record.exists():
        return []
    content = record.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_atomically(record, whole)
    return [json.loads(line) for line in whole.splitlines()]


def keep_fault(judged: Judged, folder: Path) -> None:
    """The source of a model that is wrong or crashed is in the folder, with what was found at its end."""
    if judged.outcome in FAULTS:
        folder.mkdir(parents=True, exist_ok=True)
        said = "\n".join(f"# {line}" for line in f"{judged.outcome}\n{judged.reason}".splitlines())
        (folder / f"{judged.kind}_{judged.seed}.py").write_text(f"{judged.source}\n\n{said}\n", encoding="utf-8")
