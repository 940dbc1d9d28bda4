"""The laws that a model's own code gives its draws are compared with those of the file, exactly."""

from __future__ import annotations

import importlib
import itertools
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.errors import CaptureError
from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Categorical
from rr_export.parity.code_laws import code_law_failures, paths_of_laws
from rr_export.parity.compare import Comparison
from rr_export.parity.eager_model import Eager
from rr_export.parity.subject import File

X = torch.ones(2, 3)
exporting = importlib.import_module("rr_export.export")  # the name in the package is the function
hidden = threading.Lock()  # state that no reading of the code shows


def hide(locked: bool) -> None:
    if hidden.locked() is not locked:
        (hidden.acquire if locked else hidden.release)()


def shown() -> float:
    return 0.3 if hidden.locked() else 0.2


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def coin(self) -> bool:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        hide(False)
        if random.random() < 0.5:
            hide(True)
            x = self.a(x)
        return self.b(x) if self.coin() else x


class Bernoulli(Layers):
    def coin(self) -> bool:
        return bool(torch.bernoulli(torch.tensor(shown(), dtype=torch.float64)))


class Uniform(Layers):
    def coin(self) -> bool:
        return random.random() < shown()


class UniformOfTorch(Layers):
    def coin(self) -> bool:
        return bool(2 * torch.rand((), dtype=torch.float64) < 2 * shown())


class Affine(Layers):
    def coin(self) -> bool:
        return 1 - 2 * random.random() > 1 - 2 * shown()


class Rounded(Layers):
    def coin(self) -> bool:
        return not int(random.random() + 1 - shown())


class Falling(Layers):
    """The number that a draw is compared with depends on a decision, and it is the larger the smaller the draw."""

    def forward(self, x: Tensor) -> Tensor:
        p = 0.3
        if random.random() < 0.5:
            p, x = 0.8, self.a(x)
        return self.b(x) if 1 - random.random() < p else x


class DecidedLater(Layers):
    def forward(self, x: Tensor) -> Tensor:
        u, chosen = random.random(), random.random() < 0.5
        return self.a(x) if u < (0.2 if chosen else 0.7) else x


class Half(Layers):
    """Draws of few digits: the ends of their intervals are further inside."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x) if torch.rand((), dtype=torch.float16) < 0.3 else x
        return self.b(x) if random.uniform(1000, 1001) < 1000.7 else x


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (Bernoulli, r"law \[0.7, 0.3\] on path \[1, 0\], as the file has it, got one by \[0.8, 0.2\] from the code"),
        (Uniform, r"thresholds \[0.3\] on path \[1, 0\], as the file has it, got one .* compares with \[0.2\]"),
        (UniformOfTorch, r"got differences: path \[1, \d\], draws at the (low|high) ends"),
        (Affine, r"thresholds \[0.3\] on path \[1, 0\], as the file has it, got one .* compares with \[0.2\]"),
        (Rounded, r"got differences: path \[1, \d\], draws at the (low|high) ends"),
    ],
)
def test_bug_law_of_state_that_is_not_tracked(model: type[Layers], got: str) -> None:
    with pytest.raises(CaptureError, match=got):
        rr.export(model().eval(), (X,))


@pytest.mark.slow
@pytest.mark.parametrize("model", [Falling, DecidedLater, Half])
def test_draws_at_the_ends_of_their_intervals_decide_alike(model: type[Layers]) -> None:
    made = model().eval()
    assert rr.verify(rr.export(made, (X,)), made, (X,)).passed


class Chain(Layers):
    def forward(self, x: Tensor) -> Tensor:
        state = random.choices([0, 1], [0.25, 0.75])[0]
        x = self.a(x) if state else x
        state = random.choices([0, 1], [[0.5, 0.5], [0.125, 0.875]][state])[0]
        return self.b(x) if state else x


def altered(plan: Plan) -> Plan:
    """Returns a plan whose last law is another one on some paths, by little."""
    *sites, last = plan.sites
    first = sites[0]
    rows = np.array(last.policy.table)
    rows[-1] += [1e-6, -1e-6]
    chain = rr.Markov(first.policy.table[0], [rows])
    return Plan(
        [
            Site(first.name, first.branches, chain.step(0), first.kind, first.calls),
            Site(last.name, last.branches, chain.step(1), last.kind, last.calls),
        ]
    )


def test_sabotage_a_plan_with_altered_probabilities_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Chain().eval()
    bundle = rr.export(model, (X,))
    write = exporting.write_manifest

    def sabotaged(plan: Plan, **options: Any) -> Any:
        return write(altered(plan), **options)

    monkeypatch.setattr(exporting, "write_manifest", sabotaged)
    line = r"test_code_laws.py:\d+"
    with pytest.raises(
        CaptureError, match=rf"^{line}: .*\[0.125001, 0.874999\] on path \[1, 0\].*\[0.125, 0.875\] from"
    ):
        rr.export(model, (X,))
    with bundle.folder() as folder:
        eager, file = Eager(bind(model, (X,))), File(folder, bundle)
        assert code_law_failures(eager, file, Comparison(1e-4, 1e-5)) == []
        file.plan = altered(file.plan)
        (failure,) = code_law_failures(eager, file, Comparison(1e-4, 1e-5))[:1]
    assert "[0.125001, 0.874999] on path [1, 0]" in failure


def test_paths_of_laws_take_all_routes_alike() -> None:
    few = Plan([Site(f"s{i}", ("skip", "run"), Categorical([0.999, 0.001]), "python") for i in range(3)])
    assert paths_of_laws(few) == list(few.paths())
    many = Plan([Site(f"s{i}", ("skip", "run"), Categorical([0.999, 0.001]), "python") for i in range(12)])
    paths = np.array(paths_of_laws(many))
    assert len(paths) < 64
    sites = list(itertools.combinations(range(12), 3))
    triples = {(three, tuple(path[list(three)])) for path in paths for three in sites}
    assert len(triples) > 0.95 * 8 * len(sites)
