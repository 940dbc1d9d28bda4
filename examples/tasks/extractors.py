"""Text classification by one of three feature extractors: at random, or as a gate says that has seen the words.

A bag of words, a convolution and attention share their words and the layer behind them. A run takes one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import rr_export as rr
from examples.tasks import docstrings, timing
from examples.tasks.few_digits import no_sites, proven
from examples.tasks.rivals import open_static
from examples.tasks.study import Grid, Study, Tell, versions
from rr_export.quality.calibration import accuracy, expected_calibration_error, log_loss
from rr_export.tools.plot import COLOURS, save_picture
from rr_runtime import Session

WIDTH, BATCH, RATE = 48, 64, 2e-3
NAMES = ("bag of words", "convolution", "attention")
STEPS, GATE_STEPS = 600, 300
PRICES = (0.0, 0.05)  # of a run of the dearest extractor, in nats of loss: what the gates pay
Values = NDArray[np.float64]


class Bag(nn.Module):
    """The mean of the words, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, words: Tensor, present: Tensor) -> Tensor:
        """Returns float32 [N, WIDTH] of float32 [N, T, WIDTH]; ``present`` [N, T, 1] is 1 where there is a word."""
        return F.relu(self.out(mean_of(words, present)))


class Convolution(nn.Module):
    """Three words at a time, and the largest of what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, words: Tensor, present: Tensor) -> Tensor:
        """Returns float32 [N, WIDTH], as the bag of words."""
        return (F.relu(self.near((words * present).transpose(1, 2)).transpose(1, 2)) * present).amax(1)


class Attention(nn.Module):
    """Every word looks at every word; the mean of what they see, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, words: Tensor, present: Tensor) -> Tensor:
        """Returns float32 [N, WIDTH], as the bag of words."""
        query, key, value = self.seen(words).chunk(3, -1)
        scores = query @ key.transpose(1, 2) / WIDTH**0.5 + (present.transpose(1, 2) - 1) * 1e4
        return F.relu(self.out(mean_of(words + torch.softmax(scores, -1) @ value, present)))


class Router(nn.Module):
    """Logits of the extractors from the mean of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, len(NAMES))

    def rows(self, words: Tensor, present: Tensor) -> Tensor:
        """Returns the logits of every sentence, float32 [N, 3]."""
        logits: Tensor = self.out(mean_of(words, present))
        return logits

    def forward(self, words: Tensor, present: Tensor) -> Tensor:
        """Returns the logits of the run, float32 [3]: a run has one route, so ask one sentence at a time."""
        return self.rows(words, present).mean(0)


class Classifier(nn.Module):
    """Words int64 [N, T] (0: none) to the probabilities of libraries, float32 [N, 8].

    Args:
        extractor: takes words and where there are any.
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(docstrings.WORDS, WIDTH, padding_idx=docstrings.PADDING)
        self.extractor = extractor
        self.head = nn.Linear(WIDTH, len(docstrings.LIBRARIES))

    def read(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what extractors take."""
        return self.embedding(words), (words != docstrings.PADDING).unsqueeze(-1).float()

    def forward(self, words: Tensor) -> Tensor:
        """Returns the probabilities."""
        found: Tensor = self.head(self.extractor(*self.read(words))).softmax(-1)
        return found


def mean_of(words: Tensor, present: Tensor) -> Tensor:
    """Returns the mean of the words that are there, float32 [N, WIDTH]."""
    return (words * present).sum(1) / present.sum(1).clamp(min=1)


def extractors() -> dict[str, nn.Module]:
    """Returns the untrained extractors."""
    return dict(zip(NAMES, (Bag(), Convolution(), Attention()), strict=True))


def build(name: str | None = None) -> Classifier:
    """Returns an untrained classifier: of one extractor, or (None) of all, between which a gate decides."""
    torch.manual_seed(0)
    if name is not None:
        return Classifier(extractors()[name])
    gate = rr.Gate(Router(), len(NAMES), decision="argmax", report=True)
    model = Classifier(rr.OperationChoice(extractors(), gate))
    rr.plan_of(model)
    return model


def paths_of(model: Classifier) -> list[int | None]:
    """Returns the routes that a step trains."""
    return list(range(len(NAMES))) if isinstance(model.extractor, rr.OperationChoice) else [None]


def train(model: Classifier, x: NDArray[np.int64], y: NDArray[np.int64], steps: int, tell: Any) -> None:
    """Each extractor that the model has is trained in every step, on the same sentences less a tenth of the words."""
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for step in range(steps):
        tell(step, steps)
        rows = rng.integers(0, len(x), BATCH)
        kept = np.where(rng.random((BATCH, x.shape[1])) < 0.9, x[rows], docstrings.PADDING)
        words, libraries = torch.from_numpy(kept), torch.from_numpy(y[rows])
        losses = [F.nll_loss(_on(model, words, route).clamp(min=1e-9).log(), libraries) for route in paths_of(model)]
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    model.eval()


def train_gate(model: Classifier, x: NDArray[np.int64], y: NDArray[np.int64], costs: Values, steps: int) -> None:
    """The gate, and nothing else, learns which extractor a sentence needs, from sentences that no extractor has seen.

    With so few branches the expected loss needs no sampling: it is sum over k of gate_k(x) (loss_k(x) + cost_k).

    Args:
        model: with trained extractors.
        x: sentences, int64 [N, T].
        y: their libraries, int64 [N].
        costs: of each extractor, in nats.
        steps: of training, each on all sentences.
    """
    words, libraries = torch.from_numpy(x), torch.from_numpy(y)
    with torch.no_grad():
        found = [_on(model, words, route).clamp(min=1e-9).log() for route in paths_of(model)]
        losses = torch.stack([F.nll_loss(log_p, libraries, reduction="none") for log_p in found], 1)
        read = model.read(words)
    router = model.extractor.get_submodule("routing_gate")
    assert isinstance(router, Router)
    nn.init.zeros_(router.out.weight)
    nn.init.zeros_(router.out.bias)
    paid = losses + torch.from_numpy(costs).float()
    optimiser = torch.optim.AdamW(router.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(steps):
        loss = (router.rows(*read).softmax(-1) * paid).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _on(model: Classifier, words: Tensor, route: int | None) -> Tensor:
    if route is None:
        found: Tensor = model(words)
        return found
    with rr.forced(model, [route]):
        found = model(words)
    return found


def study(folder: Path, *, quick: bool = False, tell: Tell = lambda *_: None) -> Study:
    """Returns how one of three extractors does, at random or by a gate, beside each of them trained alone."""
    steps, gate_steps = (20, 20) if quick else (STEPS, GATE_STEPS)
    tell("reading docstrings", 0, 1)
    x, y = docstrings.read()
    first, second = len(x) // 6, len(x) // 4  # the test; what the gates learn from
    test, held, seen = slice(0, first), slice(first, second), slice(second, None)
    words, libraries = {"words": x[test]}, y[test]
    axes: dict[str, Any] = {"words": {0: "batch"}}
    example = {"words": torch.from_numpy(x[:2])}
    runs: dict[str, Callable[[Mapping[str, Any]], Values]] = {}

    for name in NAMES:
        model = build(name)
        train(model, x[seen], y[seen], steps, lambda done, total, name=name: tell(f"training: {name}", done, total))
        with no_sites():
            alone = rr.export(model, (), example, dynamic_shapes=axes)
        run = open_static(alone.save(folder / f"{name.replace(' ', '-')}.onnx", overwrite=True))
        runs[f"{name}, trained alone"] = lambda given, run=run: run(given)["output"]  # type: ignore[misc]

    model = build()
    train(model, x[seen], y[seen], steps, lambda done, total: tell("training: all three", done, total))
    verified, flops = "", np.zeros(len(NAMES))
    for price in PRICES:
        costs = price * flops / max(flops.max(), 1.0)
        train_gate(model, x[held], y[held], costs, gate_steps)
        bundle = rr.export(model, (), example, dynamic_shapes=axes)
        if not verified:
            verified = proven(bundle, model, (), tell, example)
            flops = np.array(bundle.costs("flops").branches[0])
        plan = bundle.plan.with_policies({"extractor": rr.Uniform(len(NAMES))})
        bundle = bundle.with_profile("uniform", plan)
        bundle.save(folder / f"routed-{price}", overwrite=True)
    sessions = {price: Session(folder / f"routed-{price}", threads=1) for price in PRICES}
    session = sessions[PRICES[0]]
    for route, name in enumerate(NAMES):
        runs[name] = lambda given, route=route: session.run(given, path=[route]).outputs["output"]  # type: ignore[misc]
    rows = {name: _figures(run(words), libraries) for name, run in runs.items()}
    rows["all three, averaged"] = _figures(np.mean([run(words) for run in list(runs.values())[3:]], axis=0), libraries)

    singly = [{"words": x[i : i + 1]} for i in range(first)]
    drawn = [session.run(one, profile="uniform", seed=i) for i, one in enumerate(singly)]
    rows["one at random"] = _figures(np.concatenate([found.outputs["output"] for found in drawn]), libraries)
    shares = {}
    for price, gated in sessions.items():
        name = f"gate (price {price})"
        chosen = [gated.run(one) for one in singly]
        rows[name] = _figures(np.concatenate([found.outputs["output"] for found in chosen]), libraries)
        taken = np.concatenate([found.path for found in chosen if found.path is not None])
        shares[name] = [float((taken == k).mean()) for k in range(len(NAMES))]
    tell("timing", 0, 1)
    one = singly[0]
    took = timing.medians({name: lambda run=run: run(one) for name, run in runs.items()})  # type: ignore[misc]
    return Study(
        "extractors",
        "text classification by one of three feature extractors",
        f"first sentences of docstrings of {len(docstrings.LIBRARIES)} installed libraries: {len(x) - second:,} for "
        f"training, {second - first:,} for the gates, {first:,} for the test; the library is to be told",
        f"{steps} steps; a gate decides for one sentence at a time, and pays for what it takes: its price is that of "
        "a run of the dearest extractor, in nats of loss",
        verified,
        {"rows": rows, "shares": shares, "milliseconds": took, "flops": flops.tolist()},
        versions(),
    )


def _figures(probabilities: NDArray[Any], libraries: NDArray[np.int64]) -> dict[str, float]:
    right = (probabilities.argmax(1) == libraries).astype(np.float64)
    return {
        "accuracy": accuracy(probabilities, libraries),
        "error": float(right.std(ddof=1) / np.sqrt(len(right))),
        "log loss": log_loss(probabilities, libraries),
        "calibration error": expected_calibration_error(probabilities, libraries),
    }


def flops_of(found: Study, name: str) -> float:
    """Returns what a row of the table computes for a sentence, as a share of all three extractors."""
    flops = np.array(found.figures["flops"]) / np.sum(found.figures["flops"])
    alone = name.removesuffix(", trained alone")
    shares = {"all three, averaged": [1.0] * 3, "one at random": [1 / 3] * 3, **found.figures["shares"]}
    return float(flops[NAMES.index(alone)] if alone in NAMES else flops @ np.array(shares[name]))


def grids(found: Study) -> Sequence[Grid]:
    """Returns the tables."""
    rows = tuple(
        (
            name,
            f"{flops_of(found, name):.1%}",
            f"{found.figures['milliseconds'][name]:.3f}" if name in found.figures["milliseconds"] else "-",
            f"{row['accuracy']:.3f} ± {row['error']:.3f}",
            f"{row['log loss']:.3f}",
            f"{row['calibration error']:.3f}",
        )
        for name, row in found.figures["rows"].items()
    )
    shares = tuple((name, *(f"{p:.0%}" for p in taken)) for name, taken in found.figures["shares"].items())
    head = ("", "FLOPs", "ms, one sentence", "accuracy", "log loss", "calibration error")
    return [
        Grid("FLOPs of the extractors alone, as a share of all three", head, rows),
        Grid("How often the gates took each extractor on the test sentences", ("", *NAMES), shares),
    ]


def verdict(found: Study) -> str:
    """Returns where routing wins and loses."""
    rows = found.figures["rows"]
    alone = {name: row for name, row in rows.items() if name.endswith("trained alone")}
    best = max(alone, key=lambda name: alone[name]["accuracy"])
    said = []
    for name, row in rows.items():
        if name not in alone:
            less = row["accuracy"] - alone[best]["accuracy"]
            said.append(f"{name} {less:+.3f} at {flops_of(found, name):.0%}")
    took = found.figures["milliseconds"]
    slower = [took[name] / took[f"{name}, trained alone"] for name in NAMES]
    lost = [name for name, row in rows.items() if name not in alone and row["accuracy"] < alone[best]["accuracy"]]
    return (
        f"The best extractor trained alone is {best.removesuffix(', trained alone')}, accuracy "
        f"{alone[best]['accuracy']:.3f} ± {alone[best]['error']:.3f} at {flops_of(found, best):.0%} of the FLOPs. "
        f"Beside it, from one file: {'; '.join(said)}. Below it: {', '.join(lost) or 'none'}. For one sentence the "
        f"gate and the choice count: a run takes {min(slower):.1f} to {max(slower):.1f} times what a file of that "
        "extractor alone does."
    )


def draw(found: Study, file: Path) -> None:
    """The picture of every row's accuracy, with its standard error and FLOPs, is in the file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    rows = found.figures["rows"]
    for place, (name, row) in enumerate(rows.items()):
        alone = name.endswith("trained alone")
        colour = COLOURS[1] if alone else COLOURS[2] if name.startswith("gate") else COLOURS[0]
        style = {"marker": "s" if alone else "o", "color": colour, "capsize": 3}
        axes.errorbar(row["accuracy"], place, xerr=row["error"], **style)
    axes.set_yticks(range(len(rows)), [f"{name}, {flops_of(found, name):.0%} of the FLOPs" for name in rows])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy, and its standard error")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_picture(figure, file, "rr-export examples.tasks")
