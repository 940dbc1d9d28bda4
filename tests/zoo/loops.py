"""Decisions in loops."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.zoo.parts import WIDTH, case, example, linears


class Layers(nn.Module):
    def __init__(self, depth: int = 4, keep: float = 0.7) -> None:
        super().__init__()
        self.layers = linears(depth)
        self.keep = keep


# LayerDrop as the paper's code has it.
class LayerDrop(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            dropout_probability = random.uniform(0, 1)
            if dropout_probability < 0.3:
                continue
            x = layer(x)
        return x


class SkipIf(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < self.keep:
                x = layer(x)
        return x


class ContinueLate(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            y = layer(x)
            if torch.rand(1).item() > self.keep:
                x = y.tanh()
                continue
            x = x + y
        return x


class WhileCounted(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        i = 0
        while i < len(self.layers):
            if torch.rand(()) < 0.5:
                x = self.layers[i](x)
            i += 1
        return x


class Enumerated(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    # A linearly growing probability of being skipped, as in stochastic depth.
    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers, start=1):
            if torch.rand(1) < 0.5 * i / len(self.layers):
                continue
            x = x + layer(x).tanh()
        return x


class Zipped(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)
        self.rates = [0.9, 0.5, 0.6]

    def forward(self, x: Tensor) -> Tensor:
        for layer, rate in zip(self.layers, self.rates, strict=True):
            x = layer(x) if torch.rand(()) < rate else x
        return x


class Reversed(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            if random.random() < 0.5:
                x = layer(x)
        return x


class OverDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({"low": nn.Linear(WIDTH, WIDTH), "high": nn.Linear(WIDTH, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        for name, block in self.blocks.items():
            if name == "low" or torch.rand(()) < 0.5:
                x = block(x)
        return x


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([linears(2), linears(1)])

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            for layer in stage:
                if torch.rand(()) < 0.5:
                    x = layer(x)
            x = x.tanh()
        return x


class Comprehension(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [layer(x) if torch.rand(()) < self.keep else x for layer in self.layers]
        return torch.cat(outputs, dim=-1)


class ComprehensionFilter(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        kept = [layer for layer in self.layers if random.random() < self.keep]
        for layer in kept:
            x = layer(x)
        return x


class GeneratorMethod(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def kept(self) -> Iterator[nn.Module]:
        for layer in self.layers:
            if torch.rand(()) < 0.7:
                yield layer

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.kept():
            x = layer(x)
        return x


# All coins are thrown first.
class CoinsFirst(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        keep = [torch.rand(()).item() < self.keep for _ in self.layers]
        for k, layer in zip(keep, self.layers, strict=True):
            if not k:
                continue
            x = layer(x)
        return x


class MaybeBlock(nn.Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p, self.layer = p, nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < self.p:
            return self.layer(x)
        return x


class SharedThrice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = MaybeBlock()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for step in range(3):
            x = self.block(x) + 0.5 * (step + 1)
        return self.out(x)


# One draw: all three calls of the layer go one way.
class OneDrawForAll(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.rand(()) < 0.5
        for _ in range(3):
            if not skip:
                x = self.layer(x)
            x = x.sin()
        return x


class Accumulated(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for layer in self.layers:
            x = layer(x)
            if torch.rand(()) < 0.5:
                total = total + x
        return total + 0.1 * x


# Steps over time of a recurrent network, each of them zoned out at random.
class OverTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], WIDTH)
        for t in range(3):
            new = self.cell(x * (t + 1), h)
            h = new if random.random() < 0.8 else h
        return h


def sequential() -> nn.Module:
    return nn.Sequential(MaybeBlock(0.3), nn.Tanh(), MaybeBlock(0.8), nn.Linear(WIDTH, 2))


class EmptyOrNot(Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        kept = [i for i in range(3) if random.random() < 0.6]
        if not kept:
            return x * 5
        for i in kept:
            x = self.layers[i](x)
        return x + 1 if kept == [0, 2] else x


CASES = [
    case("loops/empty_or_not", EmptyOrNot, 8),
    case("loops/generator_method", GeneratorMethod, 8),
    case("loops/layer_drop", LayerDrop, 16, default=True),
    case("loops/skip_if", SkipIf, 8, example(3)),
    case("loops/continue_late", ContinueLate, 8),
    case("loops/while_counted", WhileCounted, 8),
    case("loops/enumerated", Enumerated, 8),
    case("loops/zipped", Zipped, 8),
    case("loops/reversed", Reversed, 8),
    case("loops/over_dict", OverDict, 2),
    case("loops/nested", Nested, 8),
    case("loops/comprehension", Comprehension, 8),
    case("loops/comprehension_filter", ComprehensionFilter, 8),
    case("loops/coins_first", CoinsFirst, 8),
    case("loops/sequential", sequential, 4),
    case("loops/shared_thrice", SharedThrice, 8, default=True),
    case("loops/one_draw_for_all", OneDrawForAll, 2),
    case("loops/accumulated", Accumulated, 8),
    case("loops/over_time", OverTime, 8),
]
