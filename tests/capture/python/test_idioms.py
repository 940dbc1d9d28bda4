"""Ways to use draws that people write: the file has the law of the code, by an oracle that scripts the draws."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import rr_export as rr
from rr_export.passes.unique_names import shared_names
from tests.generated.file_law import law_of_file
from tests.generated.oracle import Law, differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))


class AskedTwice(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            if random.random() < 0.3 or random.random() < 0.5:
                return self.a(x)
            x = x + 1
        return self.b(x)


class SumOfKept(Layered):
    def forward(self, x: Tensor) -> Tensor:
        h = None
        for layer in self.layers:
            y = layer(x)
            if random.random() < 0.4:
                h = y if h is None else h + y
        return x if h is None else h


class ComparedWithTwo(Layered):
    """A number that varies, then one that does not."""

    def forward(self, x: Tensor) -> Tensor:
        a, u = random.random() < 0.4, random.random()
        if u < (0.2 if a else 0.7):
            x = self.a(x)
        if u < 0.4:
            x = self.b(x)
        return x


class ComparedBefore(Layered):
    """A comparison that is used after another one with a number that varies."""

    def forward(self, x: Tensor) -> Tensor:
        k, u = random.randint(1, 3), random.uniform(-1, 1)
        low = u < -0.2
        if 0.2 * k - 0.4 <= u:
            x = self.a(x)
        return self.b(x) if low else x


class ComparedBeyond(Layered):
    """Numbers that vary beyond the same end of the draw."""

    def forward(self, x: Tensor) -> Tensor:
        a, u = random.random() < 0.4, random.random()
        if u < (1.2 if a else 1.7):
            x = self.a(x)
        return self.b(x) if a else x


class BoolOrInt(Layered):
    def forward(self, x: Tensor) -> Tensor:
        a = random.random() < 0.5
        return self.a(x) if a or random.randrange(3) else x


class ModuleOrNone(Layered):
    def forward(self, x: Tensor) -> Tensor:
        layer = self.a if random.random() < 0.3 else None
        scale = 2 if layer is None else 0.5
        return (x if layer is None else layer(x)) * scale


class AtLeastOne(Layered):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[: max(1, random.randint(0, 3))]:
            x = torch.tanh(layer(x))
        return x


class LargerOfTwo(Layered):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[: max(random.randint(1, 3), random.randint(1, 3))]:
            x = torch.tanh(layer(x))
        return x


class Clamped(Layered):
    """Between two ends, by builtins, as an index, and with a key."""

    def forward(self, x: Tensor) -> Tensor:
        k = min(max(random.randint(-1, 4), 0), 2)
        j = max([0, random.randrange(2)], key=lambda n: -n)
        return self.layers[k](x) + j


class ListOfDraws(Layered):
    def forward(self, x: Tensor) -> Tensor:
        u = [random.random() for _ in range(3)]
        for i, layer in enumerate(self.layers):
            if u[i] < 0.3:
                x = layer(x)
        return x if len(u) == 3 and isinstance(u, list) else -x


class Nested(Layered):
    """Containers in containers, and a drawn index of a list of which some entries are drawn."""

    def forward(self, x: Tensor) -> Tensor:
        rows = [{"p": random.random(), "k": [random.randrange(2), 1]} for _ in range(2)]
        for row in rows:
            if row["p"] < 0.3:
                x = self.layers[row["k"][0]](x)
            x = x + row["k"][random.randrange(2)]
        return x


class OneHot(Layered):
    """Integers stay integers."""

    def forward(self, x: Tensor) -> Tensor:
        k = torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 1)
        h = F.one_hot(k, 3)
        return x * (h * torch.arange(3)).sum() + F.one_hot(k // 2 + 1, num_classes=4)[0]


class KeepOne(Layered):
    """An entry of an array of draws is set in a branch; so is one of a view of it."""

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.rand(3) < 0.3
        same = keep.view(3, 1)
        if not keep.any():
            same[0, 0] = True
        for i, layer in enumerate(self.layers):
            if keep[i]:
                x = layer(x)
        return x


class KeepDrawn(Layered):
    """An entry at a drawn position."""

    def forward(self, x: Tensor) -> Tensor:
        keep = [random.random() < 0.3 for _ in range(3)]
        if not any(keep):
            keep[random.randrange(3)] = True
        for i, layer in enumerate(self.layers):
            if keep[i]:
                x = layer(x)
        return x


class ScaledCopy(Layered):
    """A copy is another array; what is done in place to a view is done to both."""

    def forward(self, x: Tensor) -> Tensor:
        u = torch.rand(2)
        copy, view = u.clone(), u[0]
        view.mul_(0.5)
        if u[0] < 0.3:
            x = self.a(x)
        return self.b(x) if copy[0] < 0.3 else x


class DrawnSet(Layered):
    def forward(self, x: Tensor) -> Tensor:
        chosen = {random.randrange(3), random.randrange(3)}
        table = {random.choice("ab"): self.a}
        for i, layer in enumerate(self.layers):
            if i in chosen:
                x = layer(x)
        return table["a"](x) if "a" in table else x


def dropped(x: Tensor, p: float) -> Tensor:
    return x * torch.bernoulli(torch.tensor(1 - p))


torch.fx.wrap("dropped")  # as torchvision's stochastic depth: every trace puts a function of its own in its place


class WrappedForTraces(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return x + dropped(self.a(x), 0.3)


class Sampled(Layered):
    def forward(self, x: Tensor) -> Tensor:
        chosen = random.sample(range(3), 2)
        for i, layer in enumerate(self.layers):
            if i not in chosen:
                x = layer(x)
        return x


class SampledOrder(Layered):
    def forward(self, x: Tensor) -> Tensor:
        for layer in random.sample(list(self.layers), 2):
            x = torch.tanh(layer(x))
        return x


class Shuffled(Layered):
    def forward(self, x: Tensor) -> Tensor:
        order = list(self.layers)
        random.shuffle(order)
        for layer in order[:2]:
            x = torch.tanh(layer(x))
        if x.sum() > 0:
            numbers = [0.25, 0.5]
            np.random.shuffle(numbers)
            x = x * numbers[0] + numbers[1]
        return x


class Permuted(Layered):
    def forward(self, x: Tensor) -> Tensor:
        order = torch.randperm(3)
        if order[0] == 1:
            x = self.a(x)
        return self.layers[order[1]](x[torch.randperm(2)])


class WithoutReplacement(Layered):
    def forward(self, x: Tensor) -> Tensor:
        k = torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 2)
        x = self.layers[k[0]](x) + 2 * self.layers[k[1]](x)
        for i in np.random.choice(3, 2, replace=False, p=[0.5, 0.25, 0.25]):
            x = torch.tanh(self.layers[i](x))
        return x


class Thresholds(Layered):
    """Numbers without bounds: normal ones, moved and turned round, and exponential ones."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.randn(()) > 0:
            x = self.a(x)
        if 2 - random.gauss(1, 2) < 1:
            x = self.b(x)
        u = random.expovariate(2.0)
        for i, layer in enumerate(self.layers[:2]):
            if u < [0.05268, 0.80471][i]:
                x = layer(x)
        return x


class PartialCalls(Layered):
    """Calls with arguments that are drawn, made before they are called."""

    def scaled(self, x: Tensor, by: float) -> Tensor:
        return self.a(x) * by

    def forward(self, x: Tensor) -> Tensor:
        call = partial(self.scaled, by=2.0) if random.random() < 0.4 else partial(self.scaled, by=3.0)
        x = call(x)
        return partial(torch.mul, other=random.choice([2, 5]))(x)


class Repeated(Layered):
    """Outcomes that nobody can tell apart."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[random.choices([0, 1, 0], [0.2, 0.3, 0.5])[0]](x)
        for k in random.sample([1.5, 2.5, float("1.5")], 2):
            x = x * k
        return random.choice([self.a, self.a, self.b])(x) if np.random.choice([2, 1, 2]) > 1 else x


class FirstOf(Layered):
    """What comes after the first that is there is not drawn."""

    def forward(self, x: Tensor) -> Tensor:
        layer = next((layer for layer in self.layers if random.random() < 0.4), None)
        power = next((i for i in range(3) if x[0, i].item() > 0.1 and random.random() < 0.5), 7)
        return x if layer is None else layer(x) * power


class Checkpointed(Layered):
    def block(self, x: Tensor, scale: int = 1) -> Tensor:
        return self.a(x) * scale if random.random() < 0.5 else self.b(x)

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.block, x, 2, use_reentrant=False, preserve_rng_state=True)
        return checkpoint(lambda y: self.a(y) if y.sum() > 0 else y, x, use_reentrant=False)


CASES: tuple[type[Layered], ...] = (
    *(FirstOf, Checkpointed),
    WrappedForTraces,
    *(AskedTwice, SumOfKept, ComparedWithTwo, BoolOrInt, AtLeastOne, LargerOfTwo),
    *(ListOfDraws, OneHot, KeepOne, Sampled, Shuffled, Thresholds, PartialCalls, Repeated),
)
SIBLINGS: tuple[type[Layered], ...] = (
    *(ComparedBefore, ComparedBeyond, ModuleOrNone, Clamped, Nested),
    *(KeepDrawn, ScaledCopy, DrawnSet, SampledOrder, Permuted, WithoutReplacement),
)


def laws(case: type[Layered]) -> tuple[Law, Law]:
    """Returns the law of the code, and of its file."""
    model = case().eval()
    expected = law_of_code(model, (X,))
    bundle = rr.export(model, (X,))
    assert shared_names(bundle.model) == []
    return expected, law_of_file(bundle, (X,))


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(c, marks=pytest.mark.zoo) for c in SIBLINGS)])
def test_file_has_the_law_of_the_code(case: type[Layered]) -> None:
    expected, got = laws(case)
    assert sum(expected.values()) == pytest.approx(1)
    assert len(expected) > 1
    assert differences(expected, got) == []


def test_sabotage_another_law_is_found() -> None:
    law: Any = law_of_code(AskedTwice().eval(), (X,))
    first, second, _ = law
    assert differences(law, {first: law[second], second: law[first]}) != []
    assert differences(law, {first: 1.0}) != []
    assert differences(law, {**law, (0.0,): 0.1}) != []


def test_free_runs_take_the_one_of_equal_outcomes() -> None:
    model = Repeated().eval()
    plan = rr.plan_of(model, (X,))
    assert [len(site.branches) for site in plan.sites] == [2, 3, 2, 2]
    np.testing.assert_allclose(plan.sites[0].policy.table, [[0.7, 0.3]])
    random.seed(0)
    taken = set()
    for _ in range(30):
        with rr.recorded(model) as record:
            model(X)
        taken |= {record.path[0]}
    assert taken == {0, 1}
