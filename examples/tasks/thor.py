"""Random experts: each layer has several, a run takes one of each at random, two runs of a step should agree (THOR).

Zuo et al.: Taming sparsely activated transformer with stochastic experts, 2022. Here the layers are residual ones of a
network for images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import rr_export as rr
from examples.tasks import timing
from examples.tasks.few_digits import Split, fit, proven, save_plain, save_routed, split, with_softmax
from examples.tasks.rivals import Run
from examples.tasks.study import Grid, Study, Tell, beside, gain, over_trainings, versions
from examples.tasks.task import Inputs
from rr_export import training
from rr_export.quality.calibration import accuracy, expected_calibration_error, log_loss
from rr_export.tools.plot import COLOURS, save_picture
from rr_runtime import Session

EXPERTS, LAYERS, WIDTH = 4, 3, 64
ROWS = 300  # images to train with: few, so that models are wrong now and then
STEPS, TRAININGS, ENSEMBLES = 600, 3, 100
CONSISTENCY = 1.0
RUNS = (2, 4, 8, 16)
DESIGNS = ("independent", "antithetic", "stratified", "latin")
KINDS = ("random experts, consistent", "random experts")
SINGLE = ("single expert", "single expert, twice the steps")
OTHERS = tuple(f"single expert, again {number}" for number in range(1, EXPERTS))  # from other weights
RIVALS = (*SINGLE, "dense", *OTHERS)
AVERAGED = f"{EXPERTS} single networks, averaged"
Values = NDArray[np.float64]
FIGURES: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy,
    "log loss": log_loss,
    "calibration error": expected_calibration_error,
}


class Added(nn.Module):
    """x + f(x), float32 [N, WIDTH]."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + f(x)."""
        added: Tensor = x + self.f(x)
        return added


def expert(hidden: int = 2 * WIDTH) -> nn.Module:
    """Returns an untrained expert with so many hidden units."""
    return nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, hidden), nn.GELU(), nn.Linear(hidden, WIDTH))


def build(kind: str, seed: int) -> nn.Sequential:
    """Returns an untrained network: "experts", "single", or "dense", whose layers are as large as all experts."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        if kind == "experts":
            layers.append(rr.OperationChoice([expert() for _ in range(EXPERTS)], rr.Uniform(EXPERTS)))
        else:
            layers.append(expert(2 * WIDTH * (EXPERTS if kind == "dense" else 1)))
    model = nn.Sequential(nn.Linear(64, WIDTH), *map(Added, layers), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))
    if kind == "experts":
        rr.plan_of(model)  # a call of the model is a run
    return model


def loss_of(model: nn.Module, *, consistency: float | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the loss of a batch: of one pass (None), or of two, each with its own experts."""

    def one_pass(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    def two_passes(x: Tensor, y: Tensor) -> Tensor:
        one, other = model(x), model(x)
        task = 0.5 * (F.cross_entropy(one, y) + F.cross_entropy(other, y))
        return task + consistency * training.consistency(one, other) if consistency else task

    return one_pass if consistency is None else two_passes


def study(folder: Path, *, quick: bool = False, tell: Tell = lambda *_: None) -> Study:
    """Returns how random experts do beside one expert, a dense network, and several networks."""
    steps, trainings, ensembles = (20, 1, 2) if quick else (STEPS, TRAININGS, ENSEMBLES)
    found: dict[str, Any] = {"models": {}, "paths": {}, "designs": {}, "ensembles of": ensembles}
    sessions: dict[str, Session] = {}
    for seed in range(trainings):
        models = _trained(seed, steps, lambda what, done, total: tell(f"training {what}", done, total))
        data = split(seed, ROWS)
        plain = {name: save_plain(models[name], data, folder / f"{_file(name)}-{seed}.onnx") for name in RIVALS}
        given = {name: run({"input": data.x_test})["output"].astype(np.float64) for name, run in plain.items()}
        for name in (*SINGLE, "dense"):
            _add(found["models"], name, given[name], data)
        _add(found["models"], AVERAGED, np.mean([given[SINGLE[0]], *(given[name] for name in OTHERS)], axis=0), data)
        for name in KINDS:
            bundle, example = save_routed(models[name], data, folder / f"{_file(name)}-{seed}")
            if seed == 0 and name == KINDS[0]:
                verified = proven(bundle, models[name], example, tell)
            session = Session(folder / f"{_file(name)}-{seed}", threads=1)
            _measure(session, name, data, ensembles, found, tell)
            sessions[name] = session
    tell("timing", 0, 1)
    inputs = {"input": data.x_test}
    timed: dict[str, Callable[[], object]] = {name: _bound(plain[name], inputs) for name in (SINGLE[0], "dense")}
    timed |= {name: _bound(lambda given, s=session: s.run(given, seed=1), inputs) for name, session in sessions.items()}
    found["milliseconds"] = timing.medians(timed)
    found["megabytes"] = {
        name: (folder / f"{_file(name)}-0.onnx").stat().st_size / 1e6 for name in (SINGLE[0], "dense")
    }
    found["megabytes"] |= {name: (folder / f"{_file(name)}-0" / "model.onnx").stat().st_size / 1e6 for name in KINDS}
    return Study(
        "thor",
        "random experts that should agree (THOR)",
        f"scikit-learn's handwritten digits: {ROWS} images for training, {1797 - ROWS:,} for the test",
        f"{LAYERS} layers of {EXPERTS} experts, one of each drawn for a run; {steps} steps, of two passes each with "
        f"random experts and of one for the others; all figures are means and standard deviations over {trainings} "
        "trainings, each on another split",
        verified,
        found,
        versions(),
    )


def _trained(seed: int, steps: int, tell: Tell) -> dict[str, nn.Module]:
    """Returns all models of a training, by name, with probabilities as their outputs."""
    data, found = split(seed, ROWS), {}
    asked: dict[str, tuple[str, int, int, float | None]] = {  # kind, seed, steps, weight of the consistency
        SINGLE[0]: ("single", seed, steps, None),
        SINGLE[1]: ("single", seed, 2 * steps, None),
        "dense": ("dense", seed, steps, None),
        **{name: ("single", seed + 1000 * number, steps, None) for number, name in enumerate(OTHERS, 1)},
        KINDS[0]: ("experts", seed, steps, CONSISTENCY),
        KINDS[1]: ("experts", seed, steps, 0.0),
    }
    for name, (kind, number, count, weight) in asked.items():
        model = build(kind, number)
        told = f"{seed + 1}: {name}"
        fit(model, data, loss_of(model, consistency=weight), count, lambda done, of, told=told: tell(told, done, of))
        found[name] = with_softmax(model)
    return found


def _add(rows: dict[str, Any], name: str, probabilities: Values, data: Split) -> None:
    """The row of that name has one more training."""
    row = rows.setdefault(name, {figure: [] for figure in FIGURES})
    for figure, of in FIGURES.items():
        row[figure].append(of(probabilities, data.y_test))


def _file(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


def _bound(run: Run, inputs: Inputs) -> Callable[[], object]:
    return lambda: run(inputs)


def _measure(
    session: Session,
    name: str,
    data: Split,
    ensembles: int,
    found: dict[str, Any],
    tell: Tell,
) -> None:
    """The figures have the paths of a file, and what ensembles of its runs give.

    An ensemble is the mean of its runs, and a run is what its path gives, so every path is run once, and ensembles are
    put together from that; the largest difference to one that the session made is kept.
    """
    inputs = {"input": data.x_test}
    paths = list(product(range(EXPERTS), repeat=LAYERS))
    outputs = {}
    for number, path in enumerate(paths):
        tell("paths", number, len(paths))
        outputs[path] = session.run(inputs, path=path).outputs["output"].astype(np.float64)
    row = found["models"].setdefault(f"{name}: one run", {figure: [] for figure in FIGURES})
    for figure, of in FIGURES.items():
        row[figure].append(float(np.mean([of(output, data.y_test) for output in outputs.values()])))
    right = [accuracy(output, data.y_test) for output in outputs.values()]
    spread = found["paths"].setdefault(name, {"mean": [], "deviation": [], "worst": [], "best": []})
    for figure, value in zip(spread, (np.mean(right), np.std(right), min(right), max(right)), strict=True):
        spread[figure].append(float(value))

    exact = np.mean(list(outputs.values()), axis=0)
    one_row = {"input": data.x_test[:1]}
    for runs in RUNS:
        for design in DESIGNS:
            block = runs if design in ("stratified", "latin") else None
            off, figures = [], []
            for number in range(ensembles):
                asked: dict[str, Any] = {"runs": runs, "seed": number * 10**6, "draws": design, "block": block}
                drawn = session.ensemble(one_row, **asked).paths
                mean = np.mean([outputs[tuple(path)] for path in np.asarray(drawn).tolist()], axis=0)
                off.append(np.mean((mean - exact) ** 2))
                if design == "stratified":
                    figures.append([of(mean, data.y_test) for of in FIGURES.values()])
            cell = found["designs"].setdefault(name, {}).setdefault(design, {}).setdefault(str(runs), [])
            cell.append(float(np.sqrt(np.mean(off))))
            if design == "stratified":
                row = found["models"].setdefault(f"{name}: {runs} runs", {figure: [] for figure in FIGURES})
                for figure, value in zip(FIGURES, np.mean(figures, axis=0), strict=True):
                    row[figure].append(float(value))
    whole = session.ensemble(inputs, runs=16, seed=0, draws="stratified", block=16)
    again = np.mean([outputs[tuple(path)] for path in np.asarray(whole.paths).tolist()], axis=0)
    found["put together"] = max(found.get("put together", 0.0), float(np.abs(whole.mean["output"] - again).max()))
    _add(found["models"], f"{name}: all {len(paths)} paths", exact, data)


def grids(found: Study) -> Sequence[Grid]:
    """Returns the tables."""
    figures = found.figures
    rows, first = [], figures["milliseconds"]["single expert"]
    for name, row in figures["models"].items():
        kind, _, many = name.partition(": ")
        times = {"one run": 1, **{f"{runs} runs": runs for runs in RUNS}}
        alone = figures["milliseconds"].get(kind.removesuffix(", twice the steps"))
        count = EXPERTS if name == AVERAGED else times.get(many, EXPERTS**LAYERS if many else 1)
        spent = (first if alone is None else alone) * count
        size = figures["megabytes"].get(
            kind.removesuffix(", twice the steps"), EXPERTS * figures["megabytes"][SINGLE[0]]
        )
        rows.append((name, f"{spent / first:.1f}", f"{size:.2f}", *(over_trainings(row[figure]) for figure in FIGURES)))
    paths = [
        (name, *(over_trainings(row[figure]) for figure in ("mean", "deviation", "worst", "best")))
        for name, row in figures["paths"].items()
    ]
    designs = [
        (design, *(over_trainings(cells[str(runs)], ".4f") for runs in RUNS))
        for design, cells in figures["designs"][KINDS[0]].items()
    ]
    return [
        Grid(
            "Time as a multiple of one run of the single expert; ensembles draw stratified",
            ("", "time", "MB", *FIGURES),
            tuple(rows),
        ),
        Grid(f"Accuracy over all {EXPERTS**LAYERS} paths", ("", "mean", "deviation", "worst", "best"), tuple(paths)),
        Grid(
            f"How far the probabilities of an ensemble of {KINDS[0]} are from the mean over all paths (root mean "
            f"square over {figures['ensembles of']} ensembles)",
            ("draws", *(f"{runs} runs" for runs in RUNS)),
            tuple(designs),
        ),
    ]


def verdict(found: Study) -> str:
    """Returns where random experts win and lose."""
    rows = found.figures["models"]
    thor, plain = KINDS
    said = []
    for one, other in (
        (f"{thor}: one run", "single expert"),
        (f"{thor}: one run", f"{plain}: one run"),
        (f"{thor}: 16 runs", "single expert"),
        (f"{thor}: 16 runs", "single expert, twice the steps"),
        (f"{thor}: 16 runs", "dense"),
        (f"{thor}: 16 runs", AVERAGED),
    ):
        mean, error = gain(rows[one]["accuracy"], rows[other]["accuracy"])
        where = beside(rows[one]["accuracy"], rows[other]["accuracy"])
        said.append(f"{one} is {where} {other} ({mean:+.3f} ± {error:.3f})")
    ece = [
        float(np.mean(rows[name]["calibration error"])) for name in (f"{thor}: one run", f"{thor}: 16 runs", "dense")
    ]
    return (
        f"By accuracy: {'; '.join(said)}. The expected calibration error of one run is {ece[0]:.3f}, of 16 runs "
        f"{ece[1]:.3f}, and of the dense network {ece[2]:.3f}."
    )


def draw(found: Study, file: Path) -> None:
    """The picture of accuracy and of log loss against runs is in the file."""
    from matplotlib.figure import Figure

    rows = found.figures["models"]
    figure = Figure(figsize=(9, 4), layout="constrained", facecolor="white")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "log loss"), strict=True):
        counts = [1, *RUNS]
        for kind, colour in zip(KINDS, COLOURS, strict=False):
            cells = [rows[f"{kind}: {'one run' if runs == 1 else f'{runs} runs'}"][name] for runs in counts]
            axes.plot(counts, [np.mean(cell) for cell in cells], marker="o", color=colour, label=kind)
        for kind, colour in zip(("single expert", "dense", AVERAGED), COLOURS[2:], strict=False):
            axes.axhline(np.mean(rows[kind][name]), color=colour, linestyle="--", label=kind)
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xlabel("runs that are averaged")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    save_picture(figure, file, "rr-export examples.tasks")
