"""Numbers that were read out of tensors compute as those of Python do, alone and next to drawn ones."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import rr_export as rr
from rr_export.capture.python.scalars import COMPUTING, are_scalars, compute, scalar, total, whole
from tests.capture.python.test_idioms import Layered
from tests.conftest import rest_slow
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])
INPUTS = (X, -X, X * 3 + 1)


def positive(x: Tensor) -> Any:
    return (x.sum() > 0).item()


class Truths(Layered):
    def forward(self, x: Tensor) -> Tensor:
        small, big = positive(x), (x.mean() > 0.2).item()
        count = small + (random.random() < 0.5)
        if 1 - big or -small < 0:
            x = self.a(x)
        return x * (small - big) + sum([small, big]) + (~small << 2) + max(big, 0.5) + count


class Powers(Layered):
    def forward(self, x: Tensor) -> Tensor:
        n = (x > 0).sum().item()
        times, rest = divmod(n, 3)
        x = self.a(x) if n / 3 == 4 / 3 else x * 2**-n
        return x + (-1) ** n + times * rest + n ** random.choice([2, -1])


class NotInPlace(Layered):
    def forward(self, x: Tensor) -> Tensor:
        positives = (x > 0).sum()
        n, v = positives.item(), x.sum().item()
        other = v
        other += 5
        positives += 10
        return self.a(x) * n if v > 0 else x * other


class AtThreshold(Layered):
    """The input is the number in single precision, and so above it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x[0, 1].item() > 0.2 else x * round(10 * x.sum().item()) / 10


class EpsilonGreedy(Layered):
    def forward(self, x: Tensor) -> Tensor:
        action = random.randrange(3) if random.random() < 0.3 else self.a(x).mean(0)[:3].argmax().item()
        for i, layer in enumerate(self.layers):
            if i == action:
                x = layer(x)
        return x * action


class MixedKinds(Layered):
    def forward(self, x: Tensor) -> Tensor:
        level = x.sum().item() if random.random() < 0.5 else 1
        flag = positive(x) if random.random() < 0.5 else True
        if flag and random.random() < 0.5:
            x = self.a(x)
        return x * level + (level - flag) if flag else x


class ManyReads(Layered):
    def forward(self, x: Tensor) -> Tensor:
        best, at = -1e9, -1
        for i, layer in enumerate(self.layers):
            value = layer(x).sum().item()
            if value > best:
                best, at = value, i
        if random.random() < 0.2:
            at = random.randrange(3)
        return self.a(x) * best if at > 0 else self.b(x)


MODELS = rest_slow([EpsilonGreedy, Truths, Powers, NotInPlace, AtThreshold, MixedKinds, ManyReads], quick=3)


@pytest.mark.parametrize("kind", MODELS, ids=lambda k: k.__name__)
def test_file_has_the_law_of_the_code(kind: type[Layered]) -> None:
    model = kind().eval()
    laws = [law_of_code(model, (x,)) for x in INPUTS]
    bundle = rr.export(model, (X,))
    for x, law in zip(INPUTS, laws, strict=True):
        found = law_of_file(bundle, (x,))
        assert differences(law, found) == []
        assert differences({tuple(v + 0.1 for v in row): share for row, share in law.items()}, found)


def test_every_operator_is_that_of_python() -> None:
    for function in COMPUTING:
        numbers = _operands(function)
        expected = function(*numbers)
        found = compute(function, *(scalar(torch.tensor(n, dtype=_kind(n))) for n in numbers))
        values = found if isinstance(found, tuple) else (found,)
        assert are_scalars(values)
        assert tuple(v.item() for v in values) == (expected if isinstance(expected, tuple) else (expected,))
        plain = [torch.tensor(n) for n in numbers]
        assert not are_scalars(plain)  # a tensor is none by itself


def _operands(function: Callable[..., Any]) -> list[Any]:
    if function in (operator.neg, operator.pos, operator.abs, abs):
        return [True]
    return [5] if function is operator.invert else [True, True] if function is not operator.pow else [3, -2]


def _kind(number: Any) -> torch.dtype:
    return torch.bool if isinstance(number, bool) else torch.int64


def test_numbers_next_to_others() -> None:
    truth: Any = scalar(torch.tensor(True))
    assert compute(operator.truediv, truth, 3).dtype == torch.float64
    assert compute(operator.gt, scalar(torch.tensor(0.2).double()), 0.2)
    assert compute(operator.pow, scalar(torch.tensor(3)), 2).dtype == torch.int64
    assert total([truth, truth], 1).item() == 3
    assert (whole(True), whole(truth).dtype, whole(0.5)) == (1, torch.int64, 0.5)
    assert compute(operator.add, truth, torch.ones(2)).tolist() == [2.0, 2.0]
    assert compute(operator.add, "a", "b") == "ab"
