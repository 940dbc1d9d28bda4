"""``python -m survival``: runs the matrix and writes ``docs/survival.md`` and ``docs/survival.json``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from rr_export.bundle.atomic_write import write_atomically
from survival.files import COLUMNS
from survival.matrix import Matrix, build, differences, silent
from survival.page import write_page
from survival.tools import TOOLS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, DATA = DOCS / "survival.md", DOCS / "survival.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--tool", "tools", multiple=True, metavar="NAME", help="Only this tool, or all whose first words these are."
)
@click.option(
    "--file", "files", multiple=True, metavar="NAME", help="Only this file (layers.explicit) or model (layers)."
)
@click.option("--check", is_flag=True, help="Compare with docs/survival.json; write nothing.")
@click.option("--update", is_flag=True, help="Write a part of the matrix into the record, too.")
def main(tools: tuple[str, ...], files: tuple[str, ...], check: bool, update: bool) -> None:
    """Run ONNX tools on exported files and tell which of them leave the files the same model.

    Part of the matrix is printed and, without --update, not written. Exits with 1 where a cell is silent or differs
    from the record.
    """
    console = Console(stderr=True)
    rows = _chosen("--tool", tools, list(TOOLS))
    columns = _chosen("--file", files, list(COLUMNS))
    with tempfile.TemporaryDirectory(prefix="survival.") as folder, Progress(console=console) as bar:
        task = bar.add_task("survival", total=None)

        def tell(stage: str, done: int, total: int) -> None:
            bar.update(task, description=f"{stage:40.40}", completed=done, total=total)

        try:
            found = build(rows, columns, Path(folder), tell)
        except ModuleNotFoundError as error:
            raise click.ClickException(str(error)) from error
        bar.update(task, description="done", completed=1, total=1)
    failures = silent(found)
    whole = len(rows) == len(TOOLS) and len(columns) == len(COLUMNS)
    if not whole:
        for tool, row in found.cells.items():
            for file, outcome in row.items():
                click.echo(f"{tool}, {file}: {' '.join([outcome.outcome, *outcome.codes])} {outcome.reason}".rstrip())
    if check:
        failures += differences(json.loads(DATA.read_text()), found)
    elif whole or update:
        record = found if whole else Matrix.from_json(json.loads(DATA.read_text())).updated(found)
        DOCS.mkdir(exist_ok=True)
        write_atomically(PAGE, write_page(record).encode())
        write_atomically(DATA, (json.dumps(record.to_json(), indent=1) + "\n").encode())
    for failure in failures:
        click.echo(failure, err=True)
    sys.exit(bool(failures))


def _chosen(option: str, asked: tuple[str, ...], names: list[str]) -> list[str]:
    """The names that are asked for: each in full, or by its first words; all where none is."""
    chosen: list[str] = []
    for part in asked:
        found = [part] if part in names else [n for n in names if n.startswith((f"{part}.", f"{part} ", f"{part},"))]
        if not found:
            known = "\n  ".join(names)
            raise click.BadParameter(f"expected one of these, got {part!r}:\n  {known}", param_hint=option)
        chosen += found
    return [n for n in names if not asked or n in chosen]


if __name__ == "__main__":
    main()
