"""A chain of routed steps: what a step does depends on what the step before it did.

P(X_t = x) = sum over x' of P(X_{t-1} = x') P(X_t = x | X_{t-1} = x')

A classifier of handwritten digits has three steps of 2, 3 and 2 branches: a cheap one is likely followed by another.
How often the exported file takes each branch, and each pair of them, stands beside what the formula gives.

Run it: python examples/markov_chain.py
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import print
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import rr_export as rr
from rr_runtime import Session

WIDTH = 32
INITIAL = np.array([0.4, 0.6])
TRANSITIONS = [np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])]
RUNS = 20_000
FALSE_ALARM = 1e-6  # how often a sound file is called wrong here
COMPARED = 7 + 6 + 6  # frequencies: of every branch, and of every pair of branches of neighbouring steps
BOUND = math.sqrt(math.log(2 * COMPARED / FALSE_ALARM) / (2 * RUNS))  # Hoeffding 1963, for all of them together


class Hidden(nn.Module):
    """x + f(x), both float32 [N, WIDTH], where f has so many hidden units."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Linear(WIDTH, units), nn.ReLU(), nn.Linear(units, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x + f(x)."""
        return x + self.f(x)


def make_model() -> nn.Sequential:
    """Returns the untrained model: three sites that are the steps of one chain, drawn together in every run."""
    chain = rr.Markov(INITIAL, TRANSITIONS)
    first = rr.OperationChoice({"small": Hidden(8), "large": Hidden(64)}, chain.step(0))
    second = rr.OperationChoice({"none": nn.Identity(), "small": Hidden(8), "large": Hidden(64)}, chain.step(1))
    third = rr.OperationChoice({"small": Hidden(8), "large": Hidden(64)}, chain.step(2))
    model = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), first, second, third, nn.Linear(WIDTH, 10))
    rr.plan_of(model)  # from now on a call of the model is a run, which holds the whole chain
    return model


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """The model is trained; every batch takes a random path, so all branches learn."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(20):
        for rows in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def compare(routes: np.ndarray, names: list[tuple[str, ...]]) -> list[tuple[str, float, float]]:
    """Returns (event, its probability by the formula above, its frequency in ``routes`` [runs, steps])."""
    rows, law = [], INITIAL
    for t, branches in enumerate(names):
        if t > 0:
            joint = law[:, None] * TRANSITIONS[t - 1]
            law = joint.sum(0)
            for j, k in np.ndindex(joint.shape):
                seen = (routes[:, t - 1] == j) & (routes[:, t] == k)
                rows.append((f"step {t - 1} {names[t - 1][j]}, then {branches[k]}", joint[j, k], seen.mean()))
        rows += [(f"step {t} {name}", law[k], (routes[:, t] == k).mean()) for k, name in enumerate(branches)]
    return [(event, float(p), float(frequency)) for event, p, frequency in rows]


def main(output: Path | None = None) -> dict[str, Any]:
    """Trains, exports (to ``output``), proves and samples the model; returns the figures that it prints."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads would only wait for each other
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x.astype(np.float32) / 16, y, test_size=0.25, random_state=0)
    model = make_model()
    train(model, torch.from_numpy(x_train), torch.from_numpy(y_train))
    model.eval()

    example = (torch.from_numpy(x_test[:4]),)
    bundle = rr.export(model, example, dynamic_shapes={"input": {0: "batch"}})
    report = rr.verify(bundle, model, example)
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(bundle.save(output or Path(scratch) / "markov_chain"))

    # From here on torch is not needed: the file obeys a path, or draws one.
    scores = {path: session.run({"input": x_test}, path=path).outputs["output"] for path in bundle.plan.paths()}
    accuracy = {path: float((s.argmax(1) == y_test).mean()) for path, s in scores.items()}
    routes = np.stack([session.run({"input": x_test[:1]}).path for _ in range(RUNS)])

    rows = compare(routes, [site.branches for site in session.sites])
    worst = max(abs(p - frequency) for _, p, frequency in rows)
    expected = sum(bundle.plan.probability(path) * right for path, right in accuracy.items())

    table = Table("event", "P", "observed", title=f"{RUNS} runs of the file: apart by {worst:.4f}, allowed {BOUND:.4f}")
    for event, p, frequency in rows:
        table.add_row(event, f"{p:.4f}", f"{frequency:.4f}")
    print(report.table(), table)
    print(f"accuracy: {expected:.3f} expected over the paths, {min(accuracy.values()):.3f} on the worst of them")
    figures = {"accuracy": accuracy, "accuracy_expected": expected, "rows": rows}
    return figures | {"within_bound": worst <= BOUND, "verified": report.passed}


if __name__ == "__main__":
    sys.exit(0 if main()["within_bound"] else 1)
