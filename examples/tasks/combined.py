"""Routing together with pruning, 8 bits and half precision: size, latency, quality and parity of every combination."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rr_export as rr
from examples.tasks.forms import (
    FULL,
    Form,
    Run,
    dynamic_form,
    half_form,
    plain_form,
    pruned_form,
    static_form,
)
from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.timing import medians
from rr_runtime.tools.machine import about_machine

PRUNED_TO = 0.5  # pruned files keep what the menu has up to this share of the compute
CALIBRATION = 128  # rows of the validation data on which ranges are measured, over the paths of the file
TIMED = 32  # rows of a run that is timed
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Cell:
    """What a form gives on the path of one profile.

    Attributes:
        form: what was done to the routed file.
        profile: of the menu.
        megabytes: of the form's files.
        ratio: its time as a share of the routed file's on the same path, medians of one interleaved run.
        share: its time as a share of the routed file's on the dearest profile.
        quality: the mean score over the rows of the test.
        better: quality less that of the routed file, row by row.
        error: the standard error of that.
        apart: the largest difference of an output number to the routed file's, over the test.
        agreement: the share of rows with the same answer.
        proof: of the form, in words.
    """

    form: str
    profile: str
    megabytes: float
    ratio: float
    share: float
    quality: float
    better: float
    error: float
    apart: float
    agreement: float
    proof: str


@dataclass(frozen=True)
class Combined:
    """What came out.

    Attributes:
        task: its name.
        title: what it is.
        metric: in words.
        quick: whether training was shortened.
        rows: of a run that was timed.
        rounds: of the timing.
        cells: the table.
        versions: of what made it, after the processor.
    """

    task: str
    title: str
    metric: str
    quick: bool
    rows: int
    rounds: int
    cells: tuple[Cell, ...]
    versions: str

    def save(self, file: Path) -> None:
        """The figures are in a JSON file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(file: Path) -> Combined:
        """Returns the figures of a JSON file."""
        told = json.loads(file.read_text(encoding="utf-8"))
        return Combined(**{**told, "cells": tuple(Cell(**cell) for cell in told["cells"])})


def combine(
    task: Task,
    bundle: rr.Bundle,
    folder: Path,
    *,
    rounds: int = 60,
    points: Sequence[str] = FULL,
    quick: bool = False,
    tell: Tell = lambda *_: None,
) -> Combined:
    """Returns what every combination gives on every path of the menu; all files are in the folder.

    Args:
        task: the task.
        bundle: its routed model with a menu of paths, saved.
        folder: where files go.
        rounds: of the timing.
        points: of the proofs that are made.
        quick: whether training was shortened, for what is told.
        tell: told (stage, done, total).
    """
    paths = {name: profile.path for name, profile in bundle.profiles.items() if profile.path and profile.measured}
    forms = made_forms(task, bundle, folder, points=points, tell=tell)
    runs = {(form.name, name): form.on(path) for form in forms for name, path in paths.items() if name in form.profiles}
    timed = {name: rows[:TIMED] for name, rows in task.test[0][0].items()}
    tell("timing", 0, 1)
    took = medians({"/".join(key): _bound(run, timed) for key, run in runs.items()}, rounds=rounds)
    dearest = max(took[f"routed/{name}"] for name in paths)
    cells = []
    plain = {name: _answers(task, runs["routed", name]) for name in paths}
    for number, ((form_name, name), run) in enumerate(runs.items()):
        tell("scoring", number, len(runs))
        form = next(form for form in forms if form.name == form_name)
        outputs, scores = _answers(task, run)
        apart, agreement = _differences(task, plain[name][0], outputs)
        better = scores - plain[name][1]
        error = float(better.std(ddof=1) / np.sqrt(len(better))) if len(better) > 1 else 0.0
        time = took[f"{form_name}/{name}"]
        cells.append(
            Cell(
                form_name, name, form.megabytes, time / took[f"routed/{name}"], time / dearest, float(scores.mean()),
                float(better.mean()), error, apart, agreement, form.proof,
            )
        )  # fmt: skip
    return Combined(task.name, task.title, task.metric, quick, TIMED, rounds, tuple(cells), made_with())


def made_with() -> str:
    """Returns the processor, and versions of what makes figures."""
    versions = [f"{part} {version(part)}" for part in ("torch", "onnxruntime", "numpy")]
    return ", ".join([str(about_machine()["processor"]), *versions])


def made_forms(
    task: Task, bundle: rr.Bundle, folder: Path, *, points: Sequence[str] = FULL, tell: Tell = lambda *_: None
) -> list[Form]:
    """Returns the routed file, its pruned one, and each of them in 8 bits (dynamic and QDQ) and half precision."""
    assert bundle.path is not None
    kept = [n for n, p in bundle.profiles.items() if p.path and p.measured and p.measured.cost <= PRUNED_TO]
    calibration = [{name: rows[:CALIBRATION] for name, rows in inputs.items()} for inputs, _ in task.validation[:1]]
    forms = [plain_form(bundle, bundle.path)]
    sources = [("", bundle, bundle.path)]
    if kept:
        place = folder / "pruned"
        tell("pruning", 0, 1)
        forms.append(pruned_form(bundle, bundle.path, kept, place, points=points))
        sources.append(("pruned, ", rr.load(place), place))
    for before, source, place in sources:
        stem = "pruned-" if before else ""
        tell(f"{before}int8 dynamic", 0, 1)
        made = [dynamic_form(source, place, folder / f"{stem}dynamic.onnx", points=points)]
        tell(f"{before}int8 QDQ", 0, 1)
        made.append(static_form(source, calibration, folder / f"{stem}qdq"))
        tell(f"{before}fp16", 0, 1)
        made.append(half_form(source, place, folder / f"{stem}half", points=points))
        forms += [Form(before + f.name, f.on, f.megabytes, f.profiles, f.proof) for f in made]
    return forms


def _bound(run: Run, inputs: Inputs) -> Callable[[], object]:
    return lambda: run(inputs)


def _answers(task: Task, run: Run) -> tuple[list[Inputs], NDArray[np.float64]]:
    outputs = [run(inputs) for inputs, _ in task.test]
    pairs: list[tuple[Inputs, Batch]] = list(zip(outputs, task.test, strict=True))
    return outputs, np.concatenate([task.score(found, target) for found, (_, target) in pairs])


def _differences(task: Task, expected: Sequence[Inputs], found: Sequence[Inputs]) -> tuple[float, float]:
    """The largest difference of a number, and the share of rows of the same answer."""
    compared: Callable[[Any], Any] = task.compared
    pairs = [(np.asarray(compared(a)), np.asarray(compared(b))) for a, b in zip(expected, found, strict=True)]
    apart = max(float(np.abs(a - b).max()) for a, b in pairs)
    return apart, float(np.mean(np.concatenate([(a.argmax(-1) == b.argmax(-1)).ravel() for a, b in pairs])))
