"""Code that asks whether it is captured does what it does when it is not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

import rr_export as rr
from rr_export.capture.python.intercepting import ASKS_FOR_CAPTURE
from tests.conftest import rest_slow

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Asking(nn.Module):
    def __init__(self, asks: Callable[[], bool]) -> None:
        super().__init__()
        self.asks, self.first, self.second = asks, nn.Linear(4, 4), nn.Linear(4, 4)
        self.site = rr.LayerChoice(nn.Linear(4, 4), keep=0.5)


class Draws(Asking):
    def forward(self, x: Tensor) -> Tensor:
        if not self.asks() and random.random() < 0.5:
            return self.first(x)
        return self.second(x)


class Routes(Asking):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x if self.asks() else self.site(x))


class Plain(Asking):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if self.asks() else self.second(x)


class Imported(Asking):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if is_compiling() else self.site(x)


@pytest.mark.parametrize(("kind", "sites"), rest_slow([(Plain, 1), (Draws, 2), (Routes, 1), (Imported, 1)]))
def test_file_is_the_model_that_runs(kind: type[Asking], sites: int) -> None:
    model = kind(torch.compiler.is_compiling).eval()
    bundle = rr.export(model, (X,))
    assert len(bundle.plan.sites) == sites
    assert rr.verify(bundle, model, (X,)).passed


@pytest.mark.parametrize("asks", ASKS_FOR_CAPTURE, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_every_way_to_ask(asks: Callable[[], bool]) -> None:
    model = Routes(asks).eval()
    plan = rr.export(model, (X,)).plan
    assert [site.name for site in plan.sites] == ["site"]
