"""What ends a loop in its else is the loop around it, or the function."""

from __future__ import annotations

import random
from typing import Any

import pytest
from torch import Tensor, nn

import rr_export as rr
from tests.capture.python.test_tracked_state import Layers, X, last_law


class BreakInElse(Layers):
    def forward(self, x: Tensor) -> Tensor:
        weights, n = [0.75, 0.25], random.randrange(3)
        for _ in range(2):
            for j in range(2):
                if j == n:
                    break
            else:
                break
            weights = [0.25, 0.75]
        return [self.a, self.b, nn.ReLU()][n](x) * (random.choices([1, 2], weights)[0])


class ContinueInElse(Layers):
    def forward(self, x: Tensor) -> Tensor:
        weights, n = [0.75, 0.25], random.randrange(3)
        for _ in range(2):
            j = 0
            while j < 2:
                if j == n:
                    break
                j += 1
            else:
                continue
            weights = [0.25, 0.75]
        return [self.a, self.b, nn.ReLU()][n](x) * (random.choices([1, 2], weights)[0])


class DrawnInElse(Layers):
    """Whether the loop around ends is drawn in the else of the inner one."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b):
            for _ in range(1):
                x = layer(x)
            else:
                if random.random() < 0.25:
                    break
            x = x + 1
        else:
            x = x * 2
        return x


class ReturnInElse(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b):
            x = layer(x)
        else:
            if random.random() < 0.25:
                return x
        return self.a(x)


@pytest.mark.parametrize(
    ("model", "law"),
    [
        (BreakInElse, [[0.25, 0.75], [0.25, 0.75], [0.75, 0.25]]),
        (ContinueInElse, [[0.25, 0.75], [0.25, 0.75], [0.75, 0.25]]),
        (DrawnInElse, [[0.25, 0.75]]),
        (ReturnInElse, [[0.25, 0.75]]),
    ],
)
def test_bug_loop_else_that_ends_the_loop_around(model: type[Layers], law: Any) -> None:
    assert last_law(model()) == law


@pytest.mark.slow
@pytest.mark.parametrize("model", [DrawnInElse, ReturnInElse])
def test_file_of_a_loop_with_an_else_is_the_model(model: type[Layers]) -> None:
    made = model().eval()
    assert rr.verify(rr.export(made, (X,)), made, (X,)).passed
