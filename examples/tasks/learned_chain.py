"""A chain over paths that is learned: each of five steps does nothing, mixes the rows of an image, or widens each row.

What a step should do depends on what the step before it did, which a Markov chain can say, and independent
probabilities cannot. Both are learned by the score function, with a price on the expected cost, beside a uniform law of
the same expected cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import rr_export as rr
from examples.tasks.few_digits import fit, proven, save_routed, split, with_softmax
from examples.tasks.study import Grid, Study, Tell, beside, gain, over_trainings, versions
from rr_export import training
from rr_export.tools.plot import COLOURS, save_picture
from rr_runtime import Session

WIDTH, SIDE, COUNT = 32, 8, 5  # of a row's features; of an image; of steps
BRANCHES = ("none", "mix", "widen")
STEPS, TRAININGS, ROWS = 2400, 3, 1347
PRICE, CHANCE = 20.0, 0.03  # of the squared excess of the cost over the budget, and of the entropy
LAWS = ("uniform", "independent", "chain")


class Mix(nn.Module):
    """x + attention over the rows of x, float32 [N, SIDE, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.seen = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + what each row takes from the others."""
        query, key, value = self.seen(self.norm(x)).chunk(3, -1)
        added: Tensor = x + self.out(torch.softmax(query @ key.transpose(1, 2) / WIDTH**0.5, -1) @ value)
        return added


class Widen(nn.Module):
    """x + f(x) for every row of x, float32 [N, SIDE, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + f(x)."""
        added: Tensor = x + self.f(x)
        return added


class Rows(nn.Module):
    """Images float32 [N, 64] to logits [N, 10]: each row is a token.

    Args:
        law: of the routes: "uniform", "independent" or "chain".
    """

    def __init__(self, law: str) -> None:
        super().__init__()
        self.rows, self.places = nn.Linear(SIDE, WIDTH), nn.Parameter(0.1 * torch.randn(SIDE, WIDTH))
        chain = rr.LearnedMarkov([len(BRANCHES)] * COUNT)
        steps = []
        for t in range(COUNT):
            policy = {"uniform": rr.Uniform, "independent": rr.Learned}[law](3) if law != "chain" else chain.step(t)
            steps.append(rr.OperationChoice(dict(zip(BRANCHES, (nn.Identity(), Mix(), Widen()), strict=True)), policy))
        self.steps = nn.Sequential(*steps)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))

    def forward(self, input: Tensor) -> Tensor:
        """Returns the logits."""
        rows = self.rows(input.view(-1, SIDE, SIDE)) + self.places
        found: Tensor = self.head(self.steps(rows).mean(1))
        return found


def build(law: str, seed: int) -> nn.Module:
    """Returns an untrained model; the same seed gives the same weights under every law."""
    torch.manual_seed(seed)
    model = Rows(law)
    rr.plan_of(model)  # a call of the model is a run, which holds the whole chain
    return model


def train(
    model: nn.Module, law: str, data: Any, costs: rr.Costs, steps: int, tell: Any, *, price: float = PRICE
) -> None:
    """The model is trained on random paths, and its law with it where it is learned: after a third of the steps."""
    if law == "uniform":
        fit(model, data, lambda x, y: F.cross_entropy(model(x), y), steps, tell)
        return
    budget = costs.expected(rr.plan_of(model))  # the learned laws begin uniform
    with training.sampled(model) as sampling:

        def loss(x: Tensor, y: Tensor) -> Tensor:
            task = sampling.surrogate(F.cross_entropy(model(x), y))
            now = training.live_law(model)
            return task + price * (now.expected_cost(costs) / budget - 1) ** 2 - CHANCE * now.entropy()

        logits = [parameter for name, parameter in model.named_parameters() if name.endswith(".law.logits")]
        fit(model, data, loss, steps, tell, logits=logits)


def right(outputs: Mapping[str, NDArray[Any]], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns for each image whether the likeliest digit is the right one."""
    found: NDArray[np.bool_] = outputs["output"].argmax(1) == target
    return found


def study(folder: Path, *, quick: bool = False, tell: Tell = lambda *_: None) -> Study:
    """Returns how a learned chain does beside learned independent probabilities and a uniform law."""
    steps, trainings = (24, 1) if quick else (STEPS, TRAININGS)
    rows: dict[str, dict[str, list[float]]] = {law: {} for law in LAWS}
    tables: dict[str, Any] = {}
    verified = ""
    for seed in range(trainings):
        data = split(seed, ROWS)
        test = [({"input": data.x_test}, data.y_test)]
        untrained, _ = save_routed(build("uniform", seed), data, folder / "untrained")
        costs = untrained.costs("flops")
        for law in LAWS:
            model, what = build(law, seed), f"training {seed + 1} of {trainings}: {law}"
            train(model, law, data, costs, steps, lambda done, total, what=what: tell(what, done, total))
            whole = with_softmax(model)
            bundle, example = save_routed(whole, data, folder / f"{law}-{seed}")
            if seed == 0 and law == "chain":
                verified = proven(bundle, whole, example, tell)
            if seed == 0:
                tables[law] = [site.policy.table.tolist() for site in bundle.plan.sites]
            session = Session(folder / f"{law}-{seed}", threads=1)
            over = rr.evaluate(session, test, right, progress=tell)
            entropy = float(training.live_law(model).entropy().detach())
            together = session.ensemble(test[0][0], runs=16, seed=0, draws="stratified", block=16)
            likely = session.run(test[0][0], decision="most_probable")
            found = {
                "expected cost": costs.expected(bundle.plan) / costs.expected(untrained.plan),
                "entropy": entropy,
                "accuracy": over.mean,
                "deviation": over.std,
                "5 % of runs at most": over.percentiles[5],
                "16 runs": float(right(together.mean, data.y_test).mean()),
                "most probable path": float(right(likely.outputs, data.y_test).mean()),
                "its cost": costs.of(likely.path) / costs.expected(untrained.plan),
            }
            for name, value in found.items():
                rows[law].setdefault(name, []).append(float(value))
    return Study(
        "learned_chain",
        "a chain over paths that is learned",
        f"scikit-learn's handwritten digits: {ROWS:,} images for training, {1797 - ROWS} for the test",
        f"{COUNT} steps of three branches (nothing, attention over the rows of the image, two linear layers), {steps} "
        f"steps of training, the law learned after a third of them; means and standard deviations over {trainings} "
        "trainings, each on another split",
        verified,
        {"laws": rows, "tables": tables},
        versions(),
    )


def joint(tables: Sequence[Sequence[Sequence[float]]]) -> list[NDArray[np.float64]]:
    """Returns for every step P(branch before, branch), float64 [J, K]; the first has one branch before it."""
    law, found = np.ones(1), []
    for table in tables:
        both = law[:, None] * np.array(table)
        found.append(both)
        law = both.sum(0)
    return found


def grids(found: Study) -> Sequence[Grid]:
    """Returns the tables."""
    laws = found.figures["laws"]
    head = tuple(laws["uniform"])
    likely = ("most probable path", "its cost")  # of the uniform law no path is more probable than others

    def cell(law: str, name: str) -> str:
        return "-" if law == "uniform" and name in likely else over_trainings(laws[law][name])

    rows = tuple((law, *(cell(law, name) for name in head)) for law in LAWS)
    transitions = []
    for t, table in enumerate(found.figures["tables"]["chain"]):
        for before, row in zip(BRANCHES if t else ("",), table, strict=True):
            transitions.append((f"step {t}, after {before}" if t else "step 0", *(f"{p:.3f}" for p in row)))
    return [
        Grid("The laws over all paths; a cost of 1 is that of a run of the uniform law", ("", *head), rows),
        Grid(
            "The chain that the first training learned, P(branch | branch before)",
            ("", *BRANCHES),
            tuple(transitions),
        ),
    ]


def verdict(found: Study) -> str:
    """Returns where the learned chain wins and loses."""
    laws = found.figures["laws"]
    said = []
    for one, other in (("chain", "independent"), ("chain", "uniform"), ("independent", "uniform")):
        mean, error = gain(laws[one]["accuracy"], laws[other]["accuracy"])
        where = beside(laws[one]["accuracy"], laws[other]["accuracy"])
        said.append(f"{one} is {where} {other} ({mean:+.3f} ± {error:.3f})")
    both = joint(found.figures["tables"]["chain"])[1:]
    alike = [np.outer(pair.sum(1), pair.sum(0)) for pair in both]
    apart = [float(np.abs(pair - product).sum() / 2) for pair, product in zip(both, alike, strict=True)]
    told = [
        ", ".join(f"{np.mean(laws[law][name]):.{digits}f}" for law in LAWS)
        for name, digits in (("expected cost", 2), ("entropy", 1))
    ]
    return (
        f"Expected accuracy of a run, at expected costs of {told[0]} ({', '.join(LAWS)}) and entropies of {told[1]} "
        "nats (a lower one: fewer paths to make good): "
        f"{'; '.join(said)}. Neighbouring steps of the learned chain are up to {max(apart):.2f} from independent (in "
        "total variation, 0 to 1)."
    )


def draw(found: Study, file: Path) -> None:
    """The picture of the learned chain is in the file: a circle for each branch, a line for each pair of branches."""
    from matplotlib.figure import Figure

    pairs = joint(found.figures["tables"]["chain"])
    figure = Figure(figsize=(9, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for t, pair in enumerate(pairs):
        for k, name in enumerate(BRANCHES):
            share = pair.sum(0)[k]
            axes.scatter(t, -k, s=40 + 1500 * share, color=COLOURS[k], zorder=2)
            axes.annotate(f"{name}\n{share:.2f}", (t, -k - 0.27), ha="center", va="top", fontsize=9)
            if t:
                for j in range(len(BRANCHES)):
                    axes.plot([t - 1, t], [-j, -k], color="#444444", alpha=0.75, linewidth=16 * pair[j, k], zorder=1)
    axes.set_xticks(range(COUNT), [f"step {t}" for t in range(COUNT)])
    axes.set_yticks([])
    axes.set_ylim(-2.9, 0.4)
    axes.set_title("The learned chain: areas are P(branch), widths P(both)", fontsize=11)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    save_picture(figure, file, "rr-export examples.tasks")
