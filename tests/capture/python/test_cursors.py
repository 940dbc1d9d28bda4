"""Iterators that are advanced in branches."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.cursors import Cursor, cursor_over, finite
from rr_export.errors import CaptureError
from tests.conftest import rest_slow

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))


class Layers(Net):
    def forward(self, x: Tensor) -> Tensor:
        layers = iter(self.layers)
        for _ in self.layers:
            if random.random() < 0.5:
                x = next(layers)(x)
        return x


class EmptyCache(Net):
    """As decoders that look for a cached value of every layer, where there is none."""

    def forward(self, x: Tensor) -> Tensor:
        cached: list[Tensor] = []
        caches = iter(cached)
        for layer in self.layers:
            if random.random() < 0.5:
                continue
            cache = next(caches, None)
            x = layer(x) if cache is None else layer(x) + cache
        return x


class Keys(Net):
    def forward(self, x: Tensor) -> Tensor:
        factors = {"a": 1.5, "b": 2.0, "c": 3.0}
        names = iter(factors)
        for _ in range(2):
            if random.random() < 0.5:
                x = x * factors[next(names)]
        return x * factors[next(names)]


class Zipped(Net):
    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.layers, [1.5, 2.0, 3.0], strict=True)
        for _ in range(3):
            if random.random() < 0.5:
                layer, factor = next(pairs)
                x = layer(x) * factor
        return x


class Weights(Net):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = x + next(self.parameters()).sum() + next(iter(self.layers[1].parameters())).sum()
        return x


@pytest.mark.parametrize(
    ("kind", "sites"), rest_slow([(Weights, 1), (Layers, 3), (EmptyCache, 3), (Keys, 2), (Zipped, 3)])
)
def test_position_is_state(kind: type[Net], sites: int) -> None:
    model = kind().eval()
    bundle = rr.export(model, (X,))
    assert len(bundle.plan.sites) == sites
    assert rr.verify(bundle, model, (X,)).passed


class Exhausted(Net):
    def forward(self, x: Tensor) -> Tensor:
        factors = iter([1.5])
        for _ in range(2):
            if random.random() < 0.5:
                x = x * next(factors)
        return x


class Endless(Net):
    def forward(self, x: Tensor) -> Tensor:
        counts = itertools.count(1)
        return x * next(counts) if random.random() < 0.5 else x


class LoopOverTheRest(Net):
    def forward(self, x: Tensor) -> Tensor:
        layers = iter(self.layers)
        if random.random() < 0.5:
            next(layers)
        for layer in layers:
            x = layer(x)
        return x


@pytest.mark.parametrize(
    ("kind", "refuses"),
    [
        (Exhausted, r"test_cursors\.py:\d+: expected every branch to compute, got a StopIteration"),
        (Endless, r"test_cursors\.py:\d+: expected branches that only compute, got a side effect, next\(\)"),
        (LoopOverTheRest, r"test_cursors\.py:\d+: .*depends on a decision, used as an iterator"),
    ],
)
def test_what_cannot_be_followed_is_refused(kind: type[Net], refuses: str) -> None:
    with pytest.raises(CaptureError, match=refuses):
        rr.export(kind().eval(), (X,))


def test_cursor_is_an_iterator() -> None:
    cursor = Cursor([1, 2, 3])
    assert next(cursor) == 1
    assert list(cursor) == [2, 3]
    assert next(cursor, None) is None


def test_what_a_cursor_is_made_of() -> None:
    assert list(cursor_over({"a": 1}) or ()) == ["a"]
    assert list(cursor_over("ab") or ()) == ["a", "b"]
    cursor = Cursor([])
    assert cursor_over(cursor) is cursor
    assert cursor_over(itertools.count()) is None


def test_iterators_that_end_are_cursors() -> None:
    layer = nn.Linear(2, 2)
    assert isinstance(finite(layer.parameters, (), layer.parameters()), Cursor)
    assert isinstance(finite(enumerate, ([1],), enumerate([1])), Cursor)
    endless = zip(itertools.count(), itertools.count(), strict=False)
    assert finite(zip, (itertools.count(), itertools.count()), endless) is endless
