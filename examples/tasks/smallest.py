"""The smallest routed model (examples/two_paths.py), as a section of the results: what each path loses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples import two_paths
from examples.tasks.study import Grid, Study, Tell, versions
from rr_export.tools.plot import COLOURS, save_picture


def study(folder: Path, *, quick: bool = False, tell: Tell = lambda *_: None) -> Study:
    """Returns what the example gives; it takes seconds, so it is never shortened."""
    tell("training, export, proof and 20,000 runs", 0, 1)
    figures = two_paths.main(folder / "two_paths")
    return Study(
        "smallest",
        "the smallest example: one of two layers",
        "scikit-learn's diabetes: 331 patients for training, 111 for the test",
        "Layer 1 has 10 units with ReLU, layer 2 one unit; a run takes one of them, with probabilities .7 and .3, and "
        "so does every batch of training",
        "holds" if figures["verified"] else "does not hold",
        {name: figures[name] for name in ("losses", "losses_alone", "observed", "r2")},
        versions(),
    )


def grids(found: Study) -> Sequence[Grid]:
    """Returns the table."""
    losses, alone = found.figures["losses"], found.figures["losses_alone"]
    observed = found.figures["observed"]
    rows = [
        (
            name,
            f"{two_paths.PROBABILITIES[name]}" if name in observed else "",
            f"{observed[name]:.4f}" if name in observed else "",
            f"{loss:.3f}",
            f"{losses['test'][name]:.3f}",
        )
        for name, loss in losses["training"].items()
    ]
    rows += [
        (f"{name}, alone" if name in observed else name, "", "", f"{training:.3f}", f"{test:.3f}")
        for name, (training, test) in alone.items()
    ]
    head = ("path", "P", f"observed in {two_paths.RUNS:,} runs", "training loss", "test loss")
    return [Grid("Mean squared error in standard units", head, tuple(rows))]


def verdict(found: Study) -> str:
    """Returns what training on random paths costs here."""
    test, alone = found.figures["losses"]["test"], found.figures["losses_alone"]
    less = {name: test[name] - alone[name][1] for name in two_paths.PROBABILITIES}
    told = "; ".join(
        f"{name} loses {abs(value):.3f} {'more' if value > 0 else 'less'} than where it is trained alone"
        for name, value in less.items()
    )
    best = min(two_paths.PROBABILITIES, key=lambda name: alone[name][1])
    beaten = "beats" if test["mean output"] < alone[best][1] else "does not beat"
    return (
        f"In the test {told}. A run loses {test['expected']:.3f} on average, the mean of both layers "
        f"{test['mean output']:.3f}; that {beaten} {best} alone ({alone[best][1]:.3f})."
    )


def draw(found: Study, file: Path) -> None:
    """The picture of training and test loss of every row is in the file."""
    from matplotlib.figure import Figure

    rows = grids(found)[0].rows
    figure = Figure(figsize=(8, 3.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for column, (words, colour) in enumerate((("training", COLOURS[5]), ("test", COLOURS[0]))):
        places = [number + 0.4 * column for number in range(len(rows))]
        axes.barh(places, [float(row[3 + column]) for row in rows], height=0.38, color=colour, label=words)
    axes.set_yticks([number + 0.2 for number in range(len(rows))], [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("mean squared error, in standard units")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_picture(figure, file, "rr-export examples.tasks")
