"""A task with a comparison of its own: figures, which its module makes into tables, a sentence and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.table import Table

from examples.tasks.comparison import rr_versions
from rr_export.bundle.atomic_write import write_atomically

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it shows, in a sentence.
        head: of the columns; the first one names the rows.
        rows: of texts.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def shown(self) -> Table:
        """Returns it as a rich table."""
        made = Table(title=self.title)
        for number, name in enumerate(self.head):
            made.add_column(name, justify="left" if number == 0 else "right")
        for row in self.rows:
            made.add_row(*row)
        return made

    def markdown(self) -> str:
        """Returns it as a table of Markdown, below its title."""
        lines = [f"| {' | '.join(self.head)} |", f"|{'---|' + '---:|' * (len(self.head) - 1)}"]
        return "\n".join([f"{self.title}:", "", *lines, *(f"| {' | '.join(row)} |" for row in self.rows)])


@dataclass(frozen=True)
class Study:
    """What came out of a study.

    Attributes:
        task: the name of its module.
        title: what it is.
        data: where they come from, and how many there are.
        training: how much of it, in words.
        verified: what the proof of the routed file says.
        figures: numbers by name, as JSON has them; its module knows their names.
        versions: of what made them.
    """

    task: str
    title: str
    data: str
    training: str
    verified: str
    figures: Mapping[str, Any]
    versions: str

    def save(self, file: Path) -> None:
        """The figures are in a JSON file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @staticmethod
    def load(file: Path) -> Study:
        """Returns the figures of a JSON file."""
        return Study(**json.loads(file.read_text(encoding="utf-8")))


class Studied(Protocol):
    """What a module of a study has."""

    def study(self, folder: Path, *, quick: bool, tell: Tell) -> Study:
        """Returns what came out; all files are in the folder."""

    def grids(self, found: Study) -> Sequence[Grid]:
        """Returns the tables."""

    def verdict(self, found: Study) -> str:
        """Returns what the figures say, also where routing loses."""

    def draw(self, found: Study, file: Path) -> None:
        """The picture is in the file."""


def section(module: Studied, found: Study) -> list[str]:
    """Returns the paragraphs of a study for the page of results."""
    name = found.task
    return [
        f"## {found.title[0].upper()}{found.title[1:]}",
        f"{found.data[0].upper()}{found.data[1:]}. {found.training}.",
        module.verdict(found),
        f"![{found.title}](results/{name}.svg)",
        *(grid.markdown() for grid in module.grids(found)),
        f"The proof of the routed file: {found.verified}.",
        f"Remade by `python -m examples.tasks {name}`: {found.versions}.",
    ]


def versions() -> str:
    """Returns the versions of what trains, and of what runs the files."""
    return f"torch {torch.__version__}, {rr_versions()}"


def over_trainings(values: Sequence[float], form: str = ".3f") -> str:
    """Returns the mean over trainings and their standard deviation, or the number of a single one."""
    mean = f"{np.mean(values):{form}}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):{form}}"


def gain(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Returns the mean of one less the other, training by training, and its standard error (infinite for one)."""
    less = np.subtract(one, other)
    return float(less.mean()), float(less.std(ddof=1) / np.sqrt(len(less))) if len(less) > 1 else float("inf")


def beside(one: Sequence[float], other: Sequence[float]) -> str:
    """Returns "above", "below" or "not told apart from": a difference counts above twice its standard error."""
    mean, error = gain(one, other)
    return "not told apart from" if abs(mean) <= 2 * error else "above" if mean > 0 else "below"
