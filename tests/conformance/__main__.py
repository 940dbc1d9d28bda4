"""``python -m tests.conformance``: runs every runner that can run here, writes ``docs/conformance.md`` and its JSON."""

from __future__ import annotations

import json
import sys
from typing import TextIO

import click

from rr_export.bundle.atomic_write import write_atomically
from tests.conformance.mobile import MOBILE, check_column, mobile_cells
from tests.conformance.page import COLUMNS, write_page
from tests.conformance.record import Record
from tests.conformance.runner import CASES, FAILS, NOT_RUN, ROOT, Cell, Column, cells_of, read_lines, run_column
from tests.conformance.runners import RUNNERS

PAGE, DATA = ROOT / "docs" / "conformance.md", ROOT / "docs" / "conformance.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--runner", "names", multiple=True, type=click.Choice(COLUMNS), help="Only this one; may be repeated.")
@click.option("--case", "cases", multiple=True, help="Only this one; of others, what is recorded stays.")
@click.option("--lines", type=click.File(), help="What a worker printed elsewhere, of the one runner that is named.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
def main(names: tuple[str, ...], cases: tuple[str, ...], lines: TextIO | None, dry_run: bool) -> None:
    """Run the conformance suite on execution providers; exit with 1 where a cell fails.

    Runners that cannot run here keep what is recorded of them. On another machine, such as one with a GPU:
    `python -m tests.conformance.worker tests/conformance/cases cuda --every cuda > lines`, and here
    `--runner cuda --lines lines`.
    """
    if lines is not None and (len(names) != 1 or names[0] not in RUNNERS):
        raise click.UsageError(
            f"--lines: expected one --runner of {', '.join(RUNNERS)}, got {', '.join(names) or 'none'}"
        )
    unknown = set(cases) - set(summaries())
    if unknown or (cases and lines is not None):
        raise click.UsageError(
            f"--case: expected some of {', '.join(summaries())}, without --lines, got {', '.join(sorted(cases))}"
        )
    columns: dict[str, Column] = {}
    for name in names or COLUMNS:
        column = _column(name, cases) if lines is None else read_lines(RUNNERS[name], lines.read())
        if column is not None:
            columns[name] = column
    if not dry_run:
        write(columns)
    failed = [f"{n}: {c}: {cell.reason}" for n, col in columns.items() for c, cell in col.cells.items()
              if cell.outcome == FAILS]  # fmt: skip
    for line in failed:
        click.echo(line, err=True)
    sys.exit(bool(failed))


def _column(name: str, cases: tuple[str, ...]) -> Column | None:
    def asked(cells: list[str]) -> list[str]:
        return [cell for cell in cells if not cases or cell.partition(":")[0] in cases]

    if name in MOBILE:
        column = check_column(MOBILE[name], asked(mobile_cells(MOBILE[name])))
    else:
        runner = RUNNERS[name]
        missing = runner.missing()
        if missing:
            click.echo(f"{name}: not run: {missing}", err=True)
            return None
        column = run_column(runner, asked(cells_of(runner)))
    outcomes = [cell.outcome for cell in column.cells.values()]
    told = ", ".join(f"{outcomes.count(word)} {word}" for word in dict.fromkeys(outcomes))
    click.echo(f"{name}: {told}", err=True)
    return column


def write(columns: dict[str, Column]) -> None:
    """The record and the page have these columns, and of others what they had."""
    before = Record.from_json(json.loads(DATA.read_text())) if DATA.exists() else Record({}, {})
    record = before.updated(summaries(), {name: before.filled(name, column) for name, column in columns.items()})
    columns = {name: record.columns.get(name, Column()) for name in COLUMNS}
    for name, runner in RUNNERS.items():
        if not columns[name].versions:  # never run anywhere
            columns[name] = Column({}, {cell: Cell(NOT_RUN) for cell in cells_of(runner)})
    record = Record(record.summaries, columns)
    write_atomically(DATA, (json.dumps(record.to_json(), indent=1) + "\n").encode())
    write_atomically(PAGE, write_page(record).encode())


def summaries() -> dict[str, str]:
    """Returns what each case is, by name."""
    return {file.parent.name: json.loads(file.read_text())["summary"] for file in sorted(CASES.glob("*/runs.json"))}


if __name__ == "__main__":
    main()
