"""``python -m benchmarks.steadiness``: what designs of draws save, and what an ensemble's uncertainty is worth.

Writes the tables of ``docs/steadiness.md``. Every seed is fixed, so they are the same again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr
from benchmarks.digits import Digits, digits, markov_example, routed, train, with_dropout
from rr_export.bundle.atomic_write import write_atomically
from rr_export.quality.calibration import accuracy, auroc, expected_calibration_error, log_loss
from rr_runtime import Session

PAGE = Path(__file__).parents[1] / "docs" / "steadiness.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
RUNS, APART = 64, 10**6  # of an ensemble; between the first seeds of two of them
IMAGES = 32  # on which variances are measured
DESIGNS: Sequence[tuple[str, int | None]] = (
    ("independent", None),
    ("antithetic", None),
    ("stratified", 16),
    ("latin", 16),
    ("stratified", 64),
    ("latin", 64),
)
SMALLER = ("expected calibration error", "log loss")  # is better

INTRODUCTION = """`python -m benchmarks.steadiness` makes these tables; all seeds are fixed. The inputs are digits of
scikit-learn, 8 by 8 pixels; models are trained for {epochs} epochs, every batch on a random path."""
OF_DESIGNS = """**Designs.** Ensembles of {runs} runs on {images} test images, {ensembles} of each design. The figures
are how many independent runs a run is worth: the mean square of (mean - exact mean over all paths) of independent draws
over that of the design. The last column is the root mean square of the standard errors that are told over that of the
errors that are; 1 is right."""
OF_UNTIL = """**until**, on the {name}: how many runs it takes, the median of {ends} ensembles of at most 8192, and in
brackets the root mean square error of the element whose standard error was the largest."""
OF_UNCERTAINTY = """**Uncertainty.** The network of 8 blocks, each run with probability .8, on its full path and as an
ensemble; the same network without routing, with dropout of .2 in each block, switched off and drawn (Gal, Ghahramani:
Dropout as a Bayesian Approximation, 2016). An ensemble of that many runs costs that many runs. Mean and standard
deviation over {trainings} trainings, each on another split. The expected calibration error has 15 bins (Guo et al., On
Calibration of Modern Neural Networks, 2017). AUROC: how well a sign tells test images from inputs unlike them; .5 is
chance, below it the unlike ones look surer."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        epochs: of a training.
        ensembles: of each design, whose variance is measured.
        ends: ensembles of each design that end at an error.
        errors: at which they end.
        trainings: of each network whose uncertainty is measured.
        runs: of an ensemble there.
    """

    epochs: int = 20
    ensembles: int = 400
    ends: int = 20
    errors: Sequence[float] = (0.01, 0.005, 0.0025)
    trainings: int = 5
    runs: int = 64


@dataclass(frozen=True)
class Case:
    """An exported model that is open, the mean of its output over all paths, and inputs for both."""

    name: str
    session: Session
    inputs: Mapping[str, NDArray[np.float32]]
    exact: Values


# What designs save


def opened(name: str, model: nn.Module, x: NDArray[np.float32], folder: Path) -> Case:
    """Returns a model as a case: exported, and all its paths run."""
    bundle = rr.export(model, (torch.from_numpy(x[:4]),), dynamic_shapes={"input": {0: "batch"}})
    session = Session(bundle.save(folder))
    paths = list(bundle.plan.paths())
    weights = [bundle.plan.probability(path) for path in paths]
    outputs = [session.run({"input": x}, path=path).outputs["output"] for path in paths]
    exact = np.average(np.stack(outputs).astype(np.float64), axis=0, weights=weights)
    return Case(f"{name} ({len(paths)} paths)", session, {"input": x}, exact)


def cases(folder: Path, scale: Scale) -> list[Case]:
    """Returns the Markov chain of the examples and the network of 8 blocks, trained."""
    torch.manual_seed(0)
    data, example = digits(0), markov_example()
    chain = example.make_model()
    train(chain, data, epochs=scale.epochs)
    blocks = train(routed(), data, epochs=scale.epochs)
    x = data.x_test[:IMAGES]
    return [
        opened("Markov chain, logits", chain, x, folder / "chain"),
        opened("8 blocks, probabilities", nn.Sequential(blocks, nn.Softmax(-1)).eval(), x, folder / "blocks"),
    ]


def squared_errors(case: Case, design: str, block: int | None, ensembles: int) -> tuple[float, float]:
    """Returns the mean square of (mean - exact mean), and the mean of the squared standard errors that are told."""
    found, told = [], []
    for number in range(ensembles):
        result = case.session.ensemble(case.inputs, runs=RUNS, seed=number * APART, draws=design, block=block)
        found.append(np.mean((result.mean["output"] - case.exact) ** 2))
        if result.error is not None:
            told.append(np.mean(result.error["output"] ** 2))
    return float(np.mean(found)), float(np.mean(told)) if told else np.nan


def variance_table(every: Sequence[Case], scale: Scale) -> list[str]:
    """Returns how many independent runs a run of each design is worth."""
    lines = [
        "| draws | block | " + " | ".join(case.name for case in every) + " | error that is told |",
        "|---|---|" + "---|" * (len(every) + 1),
    ]
    base: dict[str, float] = {}
    for design, block in DESIGNS:
        gains, truths = [], []
        for case in every:
            error, told = squared_errors(case, design, block, scale.ensembles)
            base.setdefault(case.name, error)
            gains.append(f"{base[case.name] / error:.2f}")
            truths.append("none: one block" if np.isnan(told) else f"{np.sqrt(told / error):.2f}")
        size = {"independent": 1, "antithetic": 2}.get(design, block)
        shown = truths[0] if len(set(truths)) == 1 else ", ".join(truths)
        lines.append(f"| {design} | {size} | {' | '.join(gains)} | {shown} |")
    return lines


def until_table(case: Case, scale: Scale) -> list[str]:
    """Returns how many runs ``until`` takes: the median over ensembles, and how far off the mean then is."""
    heads = " | ".join(f"`until={error:g}`" for error in scale.errors)
    lines = [f"| draws | {heads} |", "|---|" + "---|" * len(scale.errors)]
    for design, block in DESIGNS[:4]:
        row = []
        for error in scale.errors:
            runs, off = [], []
            for number in range(scale.ends):
                asked: dict[str, Any] = {"draws": design, "block": block, "until": error, "seed": number * APART}
                result = case.session.ensemble(case.inputs, runs=8192, **asked)
                assert result.error is not None
                worst = np.unravel_index(result.error["output"].argmax(), result.error["output"].shape)
                runs.append(result.runs)
                off.append((result.mean["output"] - case.exact)[worst])
            row.append(f"{np.median(runs):.0f} ({np.sqrt(np.mean(np.square(off))):.4f})")
        lines.append(f"| {design} | {' | '.join(row)} |")
    return lines


# What an ensemble's uncertainty is worth


@dataclass(frozen=True)
class Answers:
    """What a method says of some inputs: probabilities [N, classes], and by the name of a sign how sure it is, [N]."""

    probabilities: Values
    sure: Mapping[str, Values]


def said(per_run: NDArray[np.floating[Any]]) -> Answers:
    """Returns the answers of single runs together, probabilities [runs, N, classes]."""
    mean = per_run.mean(0).astype(np.float64)
    sure = {"largest probability": mean.max(1)}
    if len(per_run) > 1:
        votes = np.stack([(per_run.argmax(2) == k).mean(0) for k in range(mean.shape[1])], axis=1)
        sure |= {"share of votes": votes.max(1), "spread": -per_run.std(0).mean(1).astype(np.float64)}
    return Answers(mean, sure)


def of_ensemble(session: Session, runs: int, seed: int) -> Callable[[NDArray[np.float32]], Answers]:
    """Returns what an ensemble of the file answers: stratified draws, votes by the runtime."""

    def answer(x: NDArray[np.float32]) -> Answers:
        found = session.ensemble({"input": x}, runs=runs, seed=seed, draws="stratified", vote="output")
        assert found.votes is not None
        mean = found.mean["output"]
        sure = {"largest probability": mean.max(1), "share of votes": found.votes["output"].share}
        return Answers(mean, sure | {"spread": -found.std["output"].mean(1)})

    return answer


def of_path(session: Session) -> Callable[[NDArray[np.float32]], Answers]:
    """Returns what the full path of the file answers."""
    path = [1] * len(session.sites)
    return lambda x: said(session.run({"input": x}, path=path).outputs["output"][None])


def of_torch(model: nn.Module, runs: int) -> Callable[[NDArray[np.float32]], Answers]:
    """Returns what a model with dropout answers: that many times with units dropped, for 0 once with all of them."""

    def answer(x: NDArray[np.float32]) -> Answers:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.train(runs > 0)
        with torch.no_grad():
            return said(np.stack([model(torch.from_numpy(x)).softmax(-1).numpy() for _ in range(max(1, runs))]))

    return answer


def judged(answer: Callable[[NDArray[np.float32]], Answers], data: Digits, seed: int) -> dict[str, float]:
    """Returns the figures of one method."""
    known = answer(data.x_test)
    found = {
        "accuracy": accuracy(known.probabilities, data.y_test),
        "log loss": log_loss(known.probabilities, data.y_test),
        "expected calibration error": expected_calibration_error(known.probabilities, data.y_test),
    }
    for name, x in data.unlike(seed).items():
        other = answer(x)
        for sign, sure in known.sure.items():
            found[f"AUROC, {name}, by {sign}"] = auroc(sure, other.sure[sign])
    return found


def uncertainty(folder: Path, scale: Scale) -> dict[str, dict[str, Values]]:
    """Returns the figures of every method, one for each training."""
    names = ("full path", f"ensemble of {scale.runs} runs", "dropout, switched off", f"dropout, {scale.runs} runs")
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for seed in range(scale.trainings):
        torch.manual_seed(seed)
        data = digits(seed)
        model = nn.Sequential(train(routed(), data, epochs=scale.epochs), nn.Softmax(-1)).eval()
        example = (torch.from_numpy(data.x_test[:4]),)
        bundle = rr.export(model, example, dynamic_shapes={"input": {0: "batch"}})
        session = Session(bundle.save(folder / f"routed{seed}"))
        dropping = train(with_dropout(), data, epochs=scale.epochs)
        methods = (
            of_path(session),
            of_ensemble(session, scale.runs, seed * APART),
            of_torch(dropping, 0),
            of_torch(dropping, scale.runs),
        )
        for name, method in zip(names, methods, strict=True):
            for figure, value in judged(method, data, seed).items():
                found[name].setdefault(figure, []).append(value)
    return {name: {figure: np.array(values) for figure, values in rows.items()} for name, rows in found.items()}


def uncertainty_table(found: Mapping[str, Mapping[str, Values]]) -> list[str]:
    """Returns the figures as a table: mean over the trainings, and their standard deviation."""
    figures = list(dict.fromkeys(figure for rows in found.values() for figure in rows))
    lines = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for figure in figures:
        known = [rows.get(figure) for rows in found.values()]
        cells = ["" if values is None else f"{values.mean():.3f} ± {values.std():.3f}" for values in known]
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return lines


def losses(found: Mapping[str, Mapping[str, Values]]) -> list[str]:
    """Returns where the ensemble is worse than the full path, and than dropout: pairs of one training."""
    full, ensemble, off, dropout = found.values()
    lines = []
    for name, other in (("the full path", full), ("dropout that is switched off", off), ("runs with dropout", dropout)):
        worse = []
        for figure in ensemble.keys() & other.keys():
            gain = ensemble[figure] - other[figure]
            gain = -gain if figure in SMALLER else gain
            if gain.mean() < 0:
                worse.append(f"{figure} ({-gain.mean():.3f}, in {int((gain < 0).sum())} of {len(gain)} trainings)")
        listed = "; ".join(sorted(worse)) or "in none of these figures"
        lines.append(f"- Against {name} the ensemble loses: {listed}.")
    return lines


def measured(folder: Path, scale: Scale) -> str:
    """Returns the part of the page that is measured."""
    every = cases(folder, scale)
    found = uncertainty(folder, scale)
    return "\n\n".join(
        [
            INTRODUCTION.format(epochs=scale.epochs),
            OF_DESIGNS.format(runs=RUNS, images=IMAGES, ensembles=scale.ensembles),
            "\n".join(variance_table(every, scale)),
            OF_UNTIL.format(name=every[1].name, ends=scale.ends),
            "\n".join(until_table(every[1], scale)),
            OF_UNCERTAINTY.format(trainings=scale.trainings),
            "\n".join(uncertainty_table(found)),
            "Where the ensemble loses, by the means over the trainings:",
            "\n".join(losses(found)),
        ]
    )


def drawn_into(text: str, part: str) -> str:
    """Returns a page with its measured part replaced.

    Raises:
        ValueError: the page has no place for it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"page: expected {BEGIN} and {END}, got none; write them where the tables stand")
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=PAGE, show_default=False)
def main(output: Path) -> None:
    """Write the tables of the page."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        part = measured(Path(folder), Scale())
    write_atomically(output, drawn_into(output.read_text(encoding="utf-8"), part).encode())
    print(part)


if __name__ == "__main__":
    main()
