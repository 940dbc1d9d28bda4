"""Functions of the standard library that are given draws: the law of the code, or words that help."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])


class Layered(nn.Module):
    def __init__(self, decide: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers, self.decide = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), decide

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(self.layers, x)


def filtered(layers: Any, x: Tensor) -> Tensor:
    for layer in filter(lambda layer: random.random() < 0.5, layers):
        x = layer(x)
    return x


def compressed(layers: Any, x: Tensor) -> Tensor:
    for layer in itertools.compress(layers, [random.random() < 0.5 for _ in layers]):
        x = layer(x)
    return x


def sliced(layers: Any, x: Tensor) -> Tensor:
    for layer in itertools.islice(layers, random.randrange(1, 3)):
        x = layer(x)
    return x


def joined(layers: Any, x: Tensor) -> Tensor:
    return x * int("".join(random.choice("01") for _ in range(2)), 2)


def bisected(layers: Any, x: Tensor) -> Tensor:
    return layers[bisect.bisect([0.2, 0.7], random.random())](x)  # type: ignore[no-any-return]


def searched(layers: Any, x: Tensor) -> Tensor:
    return layers[np.searchsorted([0.2, 0.7], np.random.rand())](x)  # type: ignore[no-any-return]


def bisected_whole(layers: Any, x: Tensor) -> Tensor:
    k = random.randrange(4)
    return x * (10 * bisect.bisect_left([1, 2], k) + bisect.bisect_right([1, 2], k))


def kept_once(layers: Any, x: Tensor) -> Tensor:
    keep = torch.bernoulli(torch.full((3,), 0.5))
    if keep.sum() == 0:
        keep[2] = 1
    return sum(k * layer(x) for k, layer in zip(keep, layers, strict=True)) / keep.sum()


@pytest.mark.parametrize(
    ("decide", "count"),
    [
        *((filtered, 8), (compressed, 8), (sliced, 2), (joined, 4), (bisected, 3), (searched, 3)),
        *((bisected_whole, 4), (kept_once, 7)),
    ],
)
def test_the_file_has_the_law_of_the_code(decide: Callable[[Any, Tensor], Tensor], count: int) -> None:
    law = law_of_code(Layered(decide).eval(), (X,), 10)
    assert len(law) == count
    assert differences(law, law_of_file(rr.export(Layered(decide).eval(), (X,)), (X,))) == []


def by_size(layers: Any, x: Tensor) -> Tensor:
    return layers[0](x) if abs(random.gauss(0, 1)) > 1 else x  # type: ignore[no-any-return]


def turned(layers: Any, x: Tensor) -> Tensor:
    for layer in reversed(layers) if random.random() < 0.5 else layers:
        x = layer(x)
    return x


def compiled(layers: Any, x: Tensor) -> Tensor:
    return torch.compile(layers[0])(x) if random.random() < 0.5 else x


def scripted(layers: Any, x: Tensor) -> Tensor:
    return torch.jit.script(layers[0])(x) if random.random() < 0.5 else x  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("decide", "text"),
    [
        (by_size, "by abs; compare it on both sides: draw < -1 or draw > 1"),
        (turned, r"a ModuleList and an iterator; .*such as list\(...\) of each"),
        (compiled, r"torch's compile\(\) of a part, called in one; call the part itself"),
        (scripted, r"torch's script\(\) of a part, called in one; call the part itself"),
    ],
)
def test_what_is_refused_says_what_to_do(decide: Callable[[Any, Tensor], Tensor], text: str) -> None:
    with pytest.raises(CaptureError, match=rf"^test_stdlib_calls\.py:\d+: .*{text}"):
        rr.plan_of(Layered(decide).eval(), (X,))
