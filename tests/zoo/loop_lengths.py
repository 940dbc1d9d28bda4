"""Loops whose length is decided."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn

from tests.zoo.loops import Layers
from tests.zoo.parts import WIDTH, case, linears


class Break(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.2:
                break
            x = layer(x)
        return x


class BreakAfter(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
            if random.random() < 0.25:
                x = x + 1
                break
        return x


# One draw breaks, continues or does neither: 3 routes, and 3 more where it went on.
class BreakAndContinue(Layers):
    def __init__(self) -> None:
        super().__init__(depth=2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            r = torch.rand(()).item()
            if r < 0.2:
                x = -x
                break
            if r < 0.5:
                x = x + 1
                continue
            x = layer(x)
        return x * 2


class ForElse(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.3:
                break
            x = layer(x)
        else:
            x = self.head(x)
        return x


class ReturnInLoop(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i > 0 and torch.rand(()) < 0.4:
                return x.sigmoid()
        return x


class WhileRandom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        steps = 0
        while steps < 4 and torch.rand(()) < 0.7:
            x = self.cell(x).tanh()
            steps += 1
        return x


class WhileTrueBreak(nn.Module):
    def __init__(self, most: int = 3) -> None:
        super().__init__()
        self.most = most
        self.cell = nn.GRUCell(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        count = 0
        while True:
            h = self.cell(x, h)
            count += 1
            if count == self.most or random.random() < 0.5:
                break
        return h


# Counts down from a drawn number.
class WhileDrawn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n = random.randint(0, 3)
        while n > 0:
            x = self.cell(x)
            n -= 1
        return x


class RandomRepeats(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(torch.randint(1, 4, ()).item()):
            x = self.block(x)
        return x


class RandomDepth(Layers):
    def forward(self, x: Tensor) -> Tensor:
        depth = np.random.randint(1, len(self.layers) + 1)
        for layer in self.layers[:depth]:
            x = layer(x)
        return x


class ByIndex(Layers):
    def __init__(self) -> None:
        super().__init__(depth=4)

    def forward(self, x: Tensor) -> Tensor:
        depth = random.choice([2, 3, 4])
        for i in range(len(self.layers)):
            if i >= depth:
                break
            x = self.layers[i](x)
        return x


# The break leaves the inner loop only.
class NestedBreak(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([linears(2), linears(2)])

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            for layer in stage:
                if random.random() < 0.4:
                    break
                x = layer(x)
            x = x + 0.5
        return x


class NestedReturn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([linears(2), linears(2)])

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            for layer in stage:
                x = layer(x)
                if torch.rand(()) < 0.3:
                    return x
            x = x * 2
        return x


# As many coins as layers, but those after the break are not used.
class VectorWithBreak(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        stop = torch.rand(len(self.layers)) < 0.3
        for layer, s in zip(self.layers, stop, strict=True):
            if s:
                break
            x = layer(x)
        return x


# After a layer that was skipped the loop goes on, after one that ran it may end.
class ContinueThenBreak(Layers):
    def __init__(self) -> None:
        super().__init__(depth=2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if random.random() < 0.4:
                continue
            x = layer(x)
            if random.random() < 0.1:
                break
        return x


class ContinueThenReturn(Layers):
    def __init__(self) -> None:
        super().__init__(depth=2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if random.random() < 0.4:
                continue
            x = layer(x)
            if random.random() < 0.1:
                return x
        return x * 2


CASES = [
    case("loop_lengths/continue_then_break", ContinueThenBreak, 7),
    case("loop_lengths/continue_then_return", ContinueThenReturn, 7),
    case("loop_lengths/break", Break, 5),
    case("loop_lengths/break_after", BreakAfter, 5),
    case("loop_lengths/break_and_continue", BreakAndContinue, 7),
    case("loop_lengths/for_else", ForElse, 4),
    case("loop_lengths/return_in_loop", ReturnInLoop, 4),
    case("loop_lengths/while_random", WhileRandom, 5, default=True),
    case("loop_lengths/while_true_break", WhileTrueBreak, 3),
    case("loop_lengths/while_drawn", WhileDrawn, 4),
    case("loop_lengths/random_repeats", RandomRepeats, 3),
    case("loop_lengths/random_depth", RandomDepth, 4),
    case("loop_lengths/by_index", ByIndex, 3),
    case("loop_lengths/nested_break", NestedBreak, 9),
    case("loop_lengths/nested_return", NestedReturn, 5),
    case("loop_lengths/vector_with_break", VectorWithBreak, 4),
]
