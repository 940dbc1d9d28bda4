"""``python -m examples.tasks.combine``: routing with pruning, 8 bits and half precision; remakes docs/combined.md."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

import rr_export as rr
from examples.tasks.__main__ import RESULTS, ROOT, TASKS, bar, console, find
from examples.tasks.combined import Combined, combine
from examples.tasks.combined_show import draw, markdown, proofs, table, verdict
from examples.tasks.comparison import routed_bundle
from examples.tasks.forms import FULL

NAME = "docstrings"
QUICK = ("paths",)  # points of the proofs of a shortened run
FIGURES = RESULTS / "combined.json"


def run(name: str, folder: Path, *, quick: bool = False, bundle: Path | None = None) -> Combined:
    """Trains a routed model, or takes a bundle of the task that has a menu, combines, and prints the table.

    Args:
        name: of the task.
        folder: where files go.
        quick: a few steps of training, and short proofs.
        bundle: a folder with the task's routed bundle; None: it is trained.
    """
    task = find(name)
    torch.set_num_threads(1)
    with bar(f"{task.title}, combined") as tell:
        routed = (
            routed_bundle(task, folder / "routed", steps=task.quick if quick else None, tell=tell)
            if bundle is None
            else rr.load(bundle)
        )
        rounds, points = (5, QUICK) if quick else (60, FULL)
        found = combine(task, routed, folder, rounds=rounds, points=points, quick=quick, tell=tell)
    console.print(table(found), *proofs(found), verdict(found), f"files: {folder}", sep="\n")
    return found


def write_page() -> None:
    """docs/combined.md has the table and the picture of the figures that are there."""
    parts = [(ROOT / "examples" / "tasks" / "combined.md").read_text(encoding="utf-8").rstrip()]
    if FIGURES.is_file():
        found = Combined.load(FIGURES)
        draw(found, RESULTS / "combined.svg")
        parts += [f"## {found.title[0].upper()}{found.title[1:]}", verdict(found)]
        parts += ["![size, time and quality of every form](results/combined.svg)", markdown(found)]
        parts += ["\n".join(["What the proofs say:", "", *(f"- {proof}" for proof in proofs(found))])]
        parts += [f"Remade by `python -m examples.tasks.combine`: {found.rounds} rounds; {found.versions}."]
    (ROOT / "docs" / "combined.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.tasks.combine", description=__doc__)
    parser.add_argument("name", nargs="?", default=NAME, choices=TASKS, help="the task (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few steps of training: to see that it works")
    parser.add_argument("--bundle", type=Path, help="a routed bundle of the task with a menu: nothing is trained")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "combined", help="folder of the files")
    parser.add_argument("--page", action="store_true", help="only write docs/combined.md anew")
    asked = parser.parse_args(arguments)
    if asked.page:
        write_page()
        return 0
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    found = run(asked.name, asked.output, quick=asked.quick, bundle=asked.bundle)
    if not asked.quick and asked.name == NAME:
        found.save(FIGURES)
        write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
