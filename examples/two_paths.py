"""The smallest routed model: one of two layers is taken, with probabilities 0.7 and 0.3.

Layer 1 has 10 units with ReLU, layer 2 has 1 unit. Both see the patient and predict the course of the disease, so
both must return one number: layer 2's unit is that number; layer 1's ten units are read out by one more unit, which
belongs to its branch. A run computes only the layer that is taken. What each path loses in training and in the test
stands beside what the same layers lose where each is trained alone.

Run it: python examples/two_paths.py
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
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

import rr_export as rr
from rr_runtime import Session

PROBABILITIES = {"layer1": 0.7, "layer2": 0.3}
RUNS = 20_000
FALSE_ALARM = 1e-6  # how often a sound file is called wrong here
BOUND = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * RUNS))  # Hoeffding 1963: holds for every number of runs


def make_model(features: int) -> nn.Sequential:
    """Returns the untrained model: a single site with two branches."""
    layer1 = nn.Sequential(nn.Linear(features, 10), nn.ReLU(), nn.Linear(10, 1))
    layer2 = nn.Linear(features, 1)
    policy = rr.Categorical(list(PROBABILITIES.values()))
    return nn.Sequential(rr.OperationChoice({"layer1": layer1, "layer2": layer2}, policy))


def read_data() -> list[np.ndarray]:
    """Returns 442 patients in standard units, float32 [N, C]: x for training and test, then y."""
    x, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y[:, None], test_size=0.25, random_state=0)
    by_x, by_y = StandardScaler().fit(x_train), StandardScaler().fit(y_train)
    scaled = by_x.transform(x_train), by_x.transform(x_test), by_y.transform(y_train), by_y.transform(y_test)
    return [part.astype(np.float32) for part in scaled]


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """The model is trained; every batch takes a random path, so both layers learn; or the one that is forced."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(40):
        for rows in torch.randperm(len(x)).split(32):
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def losses_of(session: Session, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Returns the mean squared error of each path of the file, its expectation over the law, and that of the mean."""
    outputs = {name: session.run({"input": x}, path=[k]).outputs["output"] for k, name in enumerate(PROBABILITIES)}
    found = {name: float(np.mean((output - y) ** 2)) for name, output in outputs.items()}
    mean = sum(p * outputs[name] for name, p in PROBABILITIES.items())
    expected = sum(p * found[name] for name, p in PROBABILITIES.items())
    return found | {"expected": expected, "mean output": float(np.mean((mean - y) ** 2))}


def losses_alone(x_train: np.ndarray, x_test: np.ndarray, y_train: np.ndarray, y_test: np.ndarray) -> dict[str, Any]:
    """Returns (training, test) mean squared error of each layer where no other is trained, and of no model at all."""
    found = {"constant": (float(np.mean(y_train**2)), float(np.mean(y_test**2)))}  # 0 is the mean
    for route, name in enumerate(PROBABILITIES):
        torch.manual_seed(0)
        model = make_model(x_train.shape[1])
        with rr.forced(model, [route]):
            train(model, torch.from_numpy(x_train), torch.from_numpy(y_train))
            with torch.no_grad():
                pairs = ((x_train, y_train), (x_test, y_test))
                found[name] = tuple(float(np.mean((model(torch.from_numpy(x)).numpy() - y) ** 2)) for x, y in pairs)
    return found


def main(output: Path | None = None) -> dict[str, Any]:
    """Trains, exports, proves and samples the model; returns the figures that it prints.

    Args:
        output: the folder of the bundle; a temporary one if not given.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads would only wait for each other
    x_train, x_test, y_train, y_test = read_data()
    model = make_model(x_train.shape[1])
    train(model, torch.from_numpy(x_train), torch.from_numpy(y_train))
    model.eval()

    example = (torch.from_numpy(x_test[:4]),)
    bundle = rr.export(model, example, dynamic_shapes={"input": {0: "batch"}})
    report = rr.verify(bundle, model, example)
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(bundle.save(output or Path(scratch) / "two_paths"))

    # From here on torch is not needed: the file obeys a path, or draws one.
    outputs = {name: session.run({"input": x_test}, path=[k]).outputs["output"] for k, name in enumerate(PROBABILITIES)}
    scores = {name: float(r2_score(y_test, y)) for name, y in outputs.items()}
    expected = sum(p * scores[name] for name, p in PROBABILITIES.items())
    of_mean = float(r2_score(y_test, sum(p * outputs[name] for name, p in PROBABILITIES.items())))
    routes = np.array([session.run({"input": x_test[:1]}).path[0] for _ in range(RUNS)])
    observed = {name: float((routes == k).mean()) for k, name in enumerate(PROBABILITIES)}
    losses = {"training": losses_of(session, x_train, y_train), "test": losses_of(session, x_test, y_test)}
    alone = losses_alone(x_train, x_test, y_train, y_test)

    table = Table("path", "P", "training loss", "test loss", title="mean squared error, in standard units")
    for name, loss in losses["training"].items():
        table.add_row(name, str(PROBABILITIES.get(name, "")), f"{loss:.3f}", f"{losses['test'][name]:.3f}")
    table.add_section()
    for name, (training, test) in alone.items():
        table.add_row(f"{name}, alone" if name in PROBABILITIES else name, "", f"{training:.3f}", f"{test:.3f}")
    print(report.table(), table)
    for name, p in PROBABILITIES.items():
        print(f"{name}: P {p}, observed {observed[name]:.4f} in {RUNS} runs, R^2 on the test set {scores[name]:.3f}")
    print(f"R^2: {expected:.3f} expected over the routes, {of_mean:.3f} of the mean output")
    within = all(abs(observed[name] - p) <= BOUND for name, p in PROBABILITIES.items())
    print(f"observed within {BOUND:.4f} of P: {within} (a sound file fails once in {1 / FALSE_ALARM:.0f})")
    return {
        "r2": scores,
        "r2_expected": expected,
        "r2_of_mean_output": of_mean,
        "losses": losses,
        "losses_alone": alone,
        "observed": observed,
        "within_bound": within,
        "verified": report.passed,
    }


if __name__ == "__main__":
    sys.exit(0 if main()["within_bound"] else 1)
