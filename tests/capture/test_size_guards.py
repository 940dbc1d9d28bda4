"""A refusal of a size names the line that asks for it."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import rr_export as rr
from rr_export.capture.size_guards import noting_guards
from rr_export.errors import CaptureError


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / math.sqrt(x.shape[0])  # here


class Even(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = x + 1
        if x.shape[0] > 2 and x.shape[0] % 2 == 0:  # here
            x = x * 2
        return x


class Adds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x * 2
        return x + torch.ones(4, 4)  # here


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if torch.cat([x, x]).shape[0] > 11 else x  # here


class Fits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def line_of(kind: type[nn.Module]) -> int:
    """Of this file, the first that is marked from the class on."""
    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"class {kind.__name__}("))
    return next(i for i, line in enumerate(lines[start:], start + 1) if line.endswith("# here"))


@pytest.mark.parametrize("kind", [Root, Even, Adds, Halves])
def test_bug_the_line_was_not_named(kind: type[nn.Module]) -> None:
    with pytest.raises(CaptureError, match=rf"^test_size_guards\.py:{line_of(kind)}: expected .* axis") as caught:
        rr.export(kind().eval(), (torch.ones(4, 4),), dynamic_shapes={"x": {0: "n"}})
    assert "from torch" not in str(caught.value)


def test_torch_is_left_as_it_was() -> None:
    before = ShapeEnv._log_guard
    with pytest.raises(RuntimeError, match="inside"), noting_guards([]):
        raise RuntimeError("inside")
    assert ShapeEnv._log_guard is before


@pytest.mark.parametrize("size", [0, 1])
def test_bug_the_model_was_blamed_for_an_example_that_is_too_small(size: int) -> None:
    text = rf"^input 'x': expected an example of size 2 or more at axis 0, .* got {size}, .*; give a larger example"
    with pytest.raises(CaptureError, match=text):
        rr.export(Fits().eval(), (torch.ones(size, 4),), dynamic_shapes={"x": {0: "n"}})
