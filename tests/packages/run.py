"""``python -m tests.packages``: judges models of packages, records each at once, and writes ``docs/packages.md``."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import click

from rr_export.bundle.atomic_write import write_atomically
from tests.packages.case import Judged, judge, mistake
from tests.packages.cases import CASES
from tests.packages.page import PAGE, write_page


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="PATTERN", help="Only models whose names match, judged again; writes no page.")
@click.option(
    "--resume",
    "record",
    default=Path("out/packages/record.jsonl"),
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The record: one line for each model; those that it has are not judged again.",
)
def main(only: str | None, record: Path) -> None:
    """Export and verify models of third-party packages.

    Exits with 1 where something else becomes of a model than is expected.
    """
    found = {} if only else read_record(record)
    cases = [case for case in CASES if not only or re.search(only, case.name)]
    record.parent.mkdir(parents=True, exist_ok=True)
    bad = 0
    with record.open("a", encoding="utf-8") as lines:
        for case in cases:
            if case.name not in found:
                found[case.name] = judge(case)
                lines.write(json.dumps({"name": case.name} | asdict(found[case.name])) + "\n")
                lines.flush()
            wrong = mistake(case, found[case.name])
            bad += bool(wrong)
            click.echo(f"{case.name}: {found[case.name].outcome}{f'; {wrong}' if wrong else ''}")
    if not only:
        write_atomically(PAGE, write_page(CASES, found).encode())
    sys.exit(bool(bad))


def read_record(record: Path) -> dict[str, Judged]:
    """Returns what the record says, the last word on each model."""
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()] if record.exists() else []
    return {row.pop("name"): Judged(**row | {"seconds": tuple(row["seconds"])}) for row in rows}
