"""Trains a routed model and its rivals, exports all of them, and compares what the files alone give."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import rr_export as rr
from examples.tasks import weights
from examples.tasks.rivals import (
    Run,
    export_static,
    open_static,
    pruned,
    quantised,
    skipping,
)
from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.timing import medians
from examples.tasks.training import nested_path, random_path
from rr_runtime import Session

SHARES = (0.25, 0.5, 0.75, 1.0)
PRUNED = (0.5, 0.75)  # shares of the weights that a pruned model has lost
RANDOM_PATHS = 12  # of each number of layers
EVALUATIONS = 96
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        kind: "routed", "static", "skipped", "pruned" or "int8".
        name: what it is.
        layers: how many layers run.
        milliseconds: median of a run on one thread, of the first test batch.
        quality: the mean score over the rows of the test.
        error: its standard error.
        deviation: of the quality over random paths of as many layers, or None.
        worst: of these paths, or None.
        megabytes: of the file.
        better: quality less that of the static model of the same size, row by row, or None.
        better_error: the standard error of that.
    """

    kind: str
    name: str
    layers: int
    milliseconds: float
    quality: float
    error: float
    megabytes: float
    deviation: float | None = None
    worst: float | None = None
    better: float | None = None
    better_error: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What came out of a task.

    Attributes:
        task: its name.
        title: what it is.
        data: in words.
        metric: in words.
        steps: of training.
        verified: what the proof of the routed file says.
        rows: the table.
        decoded: figures of whole answers, by row, and by what needs no model.
        versions: of what made it.
        said: what paths of the routed file give for one example, by row.
    """

    task: str
    title: str
    data: str
    metric: str
    steps: int
    verified: str
    rows: tuple[Row, ...]
    decoded: Mapping[str, Mapping[str, float]]
    versions: str
    said: Mapping[str, str] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """The figures are in a JSON file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(file: Path) -> Comparison:
        """Returns the figures of a JSON file."""
        told = json.loads(file.read_text(encoding="utf-8"))
        return Comparison(**{**told, "rows": tuple(Row(**row) for row in told["rows"])})


def compare(
    task: Task,
    folder: Path,
    *,
    steps: int | None = None,
    evaluations: int = EVALUATIONS,
    trained: bool = False,
    tell: Tell = lambda *_: None,
) -> Comparison:
    """Returns how a routed model and its rivals do; all files are in the folder.

    Args:
        task: the task.
        folder: where files go.
        steps: of training; None: those of the task.
        evaluations: how many paths a search may evaluate.
        trained: nothing is trained: the weights that an earlier run has left in the folder are taken.
        tell: told (stage, done, total).

    Raises:
        MissingWeightsError: ``trained``, and the folder has no weights of this training.
    """
    steps = task.steps if steps is None else steps
    folder.mkdir(parents=True, exist_ok=True)
    counts = _counts(task)
    runs: dict[str, tuple[Run, Path]] = {}

    statics = {count: _static(task, count, steps, folder, tell, trained=trained) for count in counts}
    for count, (_, file) in statics.items():
        runs[f"static {count}"] = (open_static(file), file)
    full, full_file = statics[task.layers]
    for share in PRUNED:
        file = export_static(task, pruned(full, share), folder / f"pruned-{share:.0%}.onnx".replace("%", ""))
        runs[f"pruned {share:.0%}"] = (open_static(file), file)
    small = quantised(full_file)
    runs["int8"] = (open_static(small), small)

    verified = _routed(task, folder / "routed", steps, tell, trained=trained)
    _export(task, skipping(task, full), folder / "skipped")
    paths = {kind: _menu(task, folder / kind, counts, evaluations, tell) for kind in ("routed", "skipped")}
    for kind, chosen in paths.items():
        session = Session(folder / kind, threads=1)
        for count, path in chosen.items():
            runs[f"{kind} {count}"] = (_on(session, path), folder / kind / "model.onnx")
    return _compared(task, steps, verified, folder, runs, paths, tell)


def _static(
    task: Task, count: int, steps: int, folder: Path, tell: Tell, *, trained: bool
) -> tuple[torch.nn.Module, Path]:
    def told(done: int, total: int) -> None:
        tell(f"training a model of {count} layers", done, total)

    model = weights.static(task, count, steps, folder, told, trained=trained)
    return model, export_static(task, model, folder / f"static-{count}.onnx")


def _counts(task: Task) -> list[int]:
    """Numbers of layers that are compared."""
    return sorted({max(1, round(share * task.layers)) for share in SHARES})


def _routed(task: Task, folder: Path, steps: int, tell: Tell, *, trained: bool = False) -> str:
    """The trained routed model is a bundle in the folder; returns what its proof says, in a line."""

    def told(done: int, total: int) -> None:
        tell("training the routed model", done, total)

    model = weights.routed(task, steps, folder.parent, told, trained=trained)
    return _prove(task, model, _export(task, model, folder), tell)


def _export(task: Task, model: torch.nn.Module, folder: Path) -> rr.Bundle:
    """The routed model is a bundle in the folder."""
    axes = {name: dict(named) for name, named in task.axes.items()}
    bundle = rr.export(model.eval(), (), task.example(), dynamic_shapes=axes)
    bundle.save(folder, overwrite=True)
    return bundle


def _prove(task: Task, model: torch.nn.Module, bundle: rr.Bundle, tell: Tell) -> str:
    """Returns what the proof of the bundle says, in a line; it carries the report."""
    report = rr.verify(bundle, model, (), task.example(), progress=tell, max_paths=64)
    bundle.write_parity(report.to_json())
    return "; ".join(f"{check.name}: {'holds' if check.passed else 'not tried'}" for check in report.checks)


def _menu(task: Task, folder: Path, counts: Sequence[int], evaluations: int, tell: Tell) -> dict[int, tuple[int, ...]]:
    """The bundle has a menu, chosen on the validation data; returns the best path of at most so many layers each."""
    session, layers = Session(folder, threads=1), task.layers
    costs = _measured_costs(task, session)
    start = [tuple(nested_path(layers, count)) for count in counts]
    front = rr.search(
        session,
        task.validation,
        _metric(task),
        costs,
        evaluations=evaluations,
        start=start,
        progress=lambda stage, done, total: tell(f"searching {stage}", done, total),
    )
    bundle = front.menu(rr.load(folder))
    bundle.save(folder, overwrite=True)
    chosen = {}
    for count in counts:
        fits = [found for found in front.evaluated if sum(found.path) <= count]
        chosen[count] = max(fits, key=lambda found: (found.quality, -found.cost)).path
    return chosen


def _metric(task: Task) -> Callable[[Inputs, Any], NDArray[np.float64]]:
    def score(outputs: Inputs, target: Any) -> NDArray[np.float64]:
        return task.score(outputs, target)

    score.__name__ = task.metric.replace(" ", "_")
    return score


def _measured_costs(task: Task, session: Session) -> rr.Costs:
    """What every layer takes, in milliseconds: the path of that layer alone, less the path of none."""
    inputs, layers = task.validation[0][0], task.layers
    alone = {str(i): _on(session, tuple(int(i == k) for k in range(layers))) for i in range(layers)}
    runs = {"none": _on(session, (0,) * layers), **alone}
    took = medians({name: _bound(run, inputs) for name, run in runs.items()}, rounds=20)
    least = 1e-3 * took["none"]  # noise must not make a layer free
    return rr.Costs("ms", took["none"], tuple((0.0, max(least, took[str(i)] - took["none"])) for i in range(layers)))


def _on(session: Session, path: Sequence[int]) -> Run:
    return lambda inputs: session.run(inputs, path=list(path)).outputs


def _bound(run: Run, inputs: Inputs) -> Callable[[], object]:
    return lambda: run(inputs)


def _scores(task: Task, run: Run, batches: Sequence[Batch]) -> NDArray[np.float64]:
    return np.concatenate([task.score(run(inputs), target) for inputs, target in batches])


def _compared(
    task: Task,
    steps: int,
    verified: str,
    folder: Path,
    runs: Mapping[str, tuple[Run, Path]],
    paths: Mapping[str, Mapping[int, tuple[int, ...]]],
    tell: Tell,
) -> Comparison:
    inputs = task.test[0][0]
    tell("timing", 0, 1)
    took = medians({name: _bound(run, inputs) for name, (run, _) in runs.items()})
    scores = {}
    for number, (name, (run, _)) in enumerate(runs.items()):
        tell("scoring", number, len(runs))
        scores[name] = _scores(task, run, task.test)
    decoded = _decoded(task, {name: run for name, (run, _) in runs.items()}, tell)
    said = {} if task.said is None else {f"routed {n}": task.said(runs[f"routed {n}"][0]) for n in paths["routed"]}
    rows = []
    for name, (_, file) in runs.items():
        kind, _, what = name.partition(" ")
        layers = int(what) if what.isdigit() else task.layers
        row = Row(
            kind,
            name,
            sum(paths[kind][layers]) if kind in paths else layers,
            took[name],
            float(scores[name].mean()),
            _error(scores[name]),
            _size(file),
            **(_spread(task, folder / kind, layers, tell) if kind in paths else {}),
            **(_less(scores[name], scores[f"static {layers}"]) if kind != "static" else {}),
        )
        rows.append(row)
    versions = f"torch {torch.__version__}, {rr_versions()}"
    return Comparison(
        task.name, task.title, task.data, task.metric, steps, verified, tuple(rows), decoded, versions, said
    )


def _decoded(task: Task, runs: Mapping[str, Run], tell: Tell) -> dict[str, dict[str, float]]:
    """The figures of whole answers, by row of the table; first what needs no model."""
    if task.decoded is None:
        return {}
    asked = task.asked()
    found = {} if task.told is None else dict(task.told(asked))
    for number, (name, run) in enumerate(runs.items()):
        tell("decoding", number, len(runs))
        found[name] = task.decoded(run, asked)
    return found


def _spread(task: Task, folder: Path, layers: int, tell: Tell) -> dict[str, float]:
    """Deviation and worst over random paths of so many layers."""
    session, rng = Session(folder, threads=1), np.random.default_rng(2)
    paths: set[tuple[int, ...]] = set()
    for _ in range(50 * RANDOM_PATHS):
        path = random_path(task.layers, rng)
        if sum(path) == layers and len(paths) < RANDOM_PATHS:
            paths.add(path)
    found = []
    for number, path in enumerate(sorted(paths)):
        tell(f"random paths of {layers} layers", number, len(paths))
        found.append(float(_scores(task, _on(session, path), task.test).mean()))
    return {"deviation": float(np.std(found)), "worst": min(found)}


def _error(scores: NDArray[np.float64]) -> float:
    return float(scores.std(ddof=1) / np.sqrt(len(scores)))


def _less(scores: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float]:
    return {"better": float((scores - other).mean()), "better_error": _error(scores - other)}


def _size(file: Path) -> float:
    beside = file.with_name(f"{file.name}.data")
    return (file.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)) / 1e6


def rr_versions() -> str:
    """Returns the versions of what runs the files."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}, numpy {np.__version__}"


def routed_bundle(
    task: Task, folder: Path, *, steps: int | None = None, evaluations: int = EVALUATIONS, tell: Tell = lambda *_: None
) -> rr.Bundle:
    """Returns the routed model of a task, trained, proven, with a menu, saved in the folder.

    Args:
        task: the task.
        folder: of the bundle.
        steps: of training; None: those of the task.
        evaluations: how many paths a search may evaluate.
        tell: told (stage, done, total).
    """
    _routed(task, folder, task.steps if steps is None else steps, tell)
    _menu(task, folder, _counts(task), evaluations, tell)
    return rr.load(folder)
