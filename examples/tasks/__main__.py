"""``python -m examples.tasks NAME``: trains, exports, proves and compares; ``--all`` remakes docs/results.md."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from examples.tasks.comparison import Comparison, Tell, compare
from examples.tasks.show import (
    answers_markdown,
    answers_table,
    answers_verdict,
    draw,
    markdown,
    overview,
    said,
    table,
    verdict,
)
from examples.tasks.study import Studied, Study, section
from examples.tasks.task import Task
from examples.tasks.weights import MissingWeightsError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
TASKS = ("digits", "docstrings", "translation", "summarisation", "language", "masked", "speech")
STUDIES = ("thor", "learned_chain", "extractors", "smallest")  # with a comparison of their own: study.py
console = Console() if sys.stdout.isatty() else Console(width=140)  # a table that is cut says nothing


def find(name: str) -> Task:
    """Returns the task of that name."""
    made: Task = importlib.import_module(f"examples.tasks.{name}").task()
    return made


def find_study(name: str) -> Studied:
    """Returns the module of the study of that name."""
    made: Studied = importlib.import_module(f"examples.tasks.{name}")  # type: ignore[assignment]
    return made


@contextmanager
def bar(title: str) -> Iterator[Tell]:
    """Shows what goes on; yields what is told (stage, done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        line = shown.add_task(title, total=None)

        def tell(stage: str, done: int, total: int) -> None:
            shown.update(line, description=f"{title}: {stage}", completed=done, total=max(total, 1))

        yield tell


def run(name: str, folder: Path, *, quick: bool, trained: bool = False) -> Comparison:
    """Trains and compares one task, or compares what was trained before, and prints its table."""
    task = find(name)
    torch.set_num_threads(1)  # small layers: threads would only wait for each other
    with bar(task.title) as tell:
        found = compare(task, folder / name, steps=task.quick if quick else None, trained=trained, tell=tell)
    console.print(table(found), verdict(found), sep="\n")
    if found.decoded:
        console.print(answers_table(found), answers_verdict(found), sep="\n")
    if found.said:
        console.print(said(found), markup=False, highlight=False)
    console.print(f"files: {folder / name}")
    return found


def run_study(name: str, folder: Path, *, quick: bool) -> Study:
    """Makes one study, and prints its tables."""
    module = find_study(name)
    torch.set_num_threads(1)
    (folder / name).mkdir(parents=True, exist_ok=True)
    with bar(name) as tell:
        found = module.study(folder / name, quick=quick, tell=tell)
    console.print(*(grid.shown() for grid in module.grids(found)), module.verdict(found), sep="\n")
    console.print(f"files: {folder / name}")
    return found


def write_page(names: Sequence[str], studies: Sequence[str]) -> None:
    """docs/results.md has the tables and pictures of all results that are there."""
    found_all = [Comparison.load(file) for name in names if (file := RESULTS / f"{name}.json").is_file()]
    parts = [(ROOT / "examples" / "tasks" / "page.md").read_text(encoding="utf-8").rstrip(), overview(found_all)]
    for found in found_all:
        draw(found, RESULTS / f"{found.task}.svg")
        parts += [f"## {found.title[0].upper()}{found.title[1:]}", f"{found.data}.", verdict(found)]
        parts += [f"![{found.metric} against time](results/{found.task}.svg)", markdown(found)]
        if found.decoded:
            parts += [answers_verdict(found), answers_markdown(found)]
        parts += [said(found)] if found.said else []
        parts += [f"Remade by `python -m examples.tasks {found.task}`: {found.steps} steps; {found.versions}."]
    for name in studies:
        file = RESULTS / f"{name}.json"
        if file.is_file():
            module, study = find_study(name), Study.load(file)
            module.draw(study, RESULTS / f"{name}.svg")
            parts += section(module, study)
    (ROOT / "docs" / "results.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.tasks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*TASKS, *STUDIES, []], metavar="NAME", help=", ".join([*TASKS, *STUDIES])
    )
    parser.add_argument("--all", action="store_true", help="all tasks")
    parser.add_argument("--quick", action="store_true", help="a few steps of training: to see that it works")
    parser.add_argument(
        "--trained", action="store_true", help="train nothing: measure again what tasks have trained into --output"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "tasks", help="folder of the files")
    parser.add_argument("--page", action="store_true", help="only write docs/results.md anew")
    asked = parser.parse_args(arguments)
    names = [*TASKS, *STUDIES] if asked.all else asked.names
    if not names and not asked.page:
        parser.error("expected the name of a task, got none; give one, or --all")
    studies = [name for name in names if name in STUDIES]
    if asked.trained and studies:
        parser.error(f"expected tasks beside --trained, got {', '.join(studies)}; leave out --trained, or the studies")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for name in names:
        try:
            found = (
                run_study(name, asked.output, quick=asked.quick)
                if name in STUDIES
                else run(name, asked.output, quick=asked.quick, trained=asked.trained)
            )
        except MissingWeightsError as error:
            parser.error(str(error))
        if not asked.quick:
            found.save(RESULTS / f"{name}.json")
    if not asked.quick:
        write_page(TASKS, STUDIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
