"""Decisions that depend on the input, alone and next to random ones.

A random decision behind a gate counts as if the gate let it be reached.
"""

from __future__ import annotations

import random
import warnings

import torch
from torch import Tensor, nn

from tests.zoo.parts import WIDTH, case, example, linears


class Gated(nn.Module):
    """The gate gives the sign of the input's sum, far from 0 for the examples."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 1, bias=False)
        nn.init.ones_(self.gate.weight)
        self.layers = linears(layers)


class MeanGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if self.gate(x).mean() > 0:
            x = self.layers[0](x)
        else:
            x = self.layers[1](x)
            x = x + 1
        return x


class ItemGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if self.gate(x).sum().item() > 0:
            return self.layers[0](x)
        return x


class BoolGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        positive = bool((x > 0).all())
        y = self.layers[0](x) if positive else x.abs()
        return y * 2


class AnyGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if torch.any(self.gate(x) < 0):
            return torch.relu(x)
        return self.layers[0](x)


class ElifGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        m = self.gate(x).mean()
        if m > 6:
            return self.layers[0](x)
        elif m > 0:
            return self.layers[1](x)
        else:
            return x.tanh()


class TernaryGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        layer = self.layers[0] if x.mean() > 0 else self.layers[1]
        return layer(x)


class NotGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        closed = self.gate(x).mean() < 0
        if not closed:
            x = self.layers[0](x)
        return x


class NestedGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            x = self.layers[0](x)
            if x.std() > 100:
                x = x / x.std()
        return self.layers[1](x)


class AndGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0 and x.max() < 100:
            return self.layers[0](x)
        return self.layers[1](x)


# Leaves for the whole batch once a head is sure enough.
class EarlyExit(nn.Module):
    def __init__(self, threshold: float = 0.9) -> None:
        super().__init__()
        self.threshold = threshold
        self.layers, self.heads = linears(3), nn.ModuleList(nn.Linear(WIDTH, 2) for _ in range(3))
        for head, sureness in zip(self.heads, (0.1, 20.0, 1.0), strict=True):
            with torch.no_grad():
                head.weight.mul_(0.1)
                head.bias.copy_(torch.tensor([sureness, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        for i, (layer, head) in enumerate(zip(self.layers, self.heads, strict=True)):
            x = torch.tanh(layer(x))
            logits = head(x)
            confidence = logits.softmax(-1).amax(-1).min()
            if i == len(self.layers) - 1 or confidence > self.threshold:
                return logits
        raise AssertionError


class EarlyExitBreak(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        depth = torch.zeros((), dtype=torch.int64)
        for layer in self.layers:
            if x.norm() < 3:
                break
            x = 0.5 * layer(x)
            depth = depth + 1
        return x, depth


class GateAroundSkip(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if self.gate(x).mean() > 0:
            if torch.rand(()) < 0.5:
                x = self.layers[0](x)
            x = x + 1
        return self.layers[1](x)


class SkipAroundGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            if self.gate(x).mean() > 0:
                x = self.layers[0](x)
            else:
                x = -x
                x = x.exp()
        return self.layers[1](x)


# The gate sees what the random layer made.
class GateAfterSkip(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = -x
        if self.gate(x).mean() > 0:
            return self.layers[0](x)
        return self.layers[1](x)


class LayerDropWithGates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.3:
                continue
            x = layer(x) + 5 if x.mean() > 0 else layer(x) - 5
        return x


class GateAndCoin(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if self.gate(x).mean() > 0 and torch.rand(()) < 0.5:
            x = self.layers[0](x)
        return x


class CoinAndGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5 and self.gate(x).mean() > 0:
            return self.layers[0](x)
        return self.layers[1](x)


class CoinOrGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5 or self.gate(x).mean() > 0:
            x = self.layers[0](x)
        return x


class WhileGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        steps = 0
        while steps < 3 and x.norm() > 2:
            x = 0.7 * self.cell(x)
            steps += 1
        return x


# Stops by itself or by a coin, whichever comes first.
class WhileGateAndCoin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            if x.norm() < 1:
                break
            if torch.rand(()) < 0.4:
                break
            x = self.cell(x)
        return x


class IntegerGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor, kind: Tensor) -> Tensor:
        x = self.embedding(tokens)
        if kind == 1:
            x = self.layer(x)
        elif kind.item() == 2:
            x = x * 2
        return x


# A size is known when the model is exported: no gate.
class SizeCondition(Gated):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] == WIDTH and len(x) > 1:
            x = self.layers[0](x)
        if torch.rand(()) < 0.5:
            x = self.layers[1](x)
        return x


class GateFlag(Gated):
    def forward(self, x: Tensor) -> Tensor:
        loud = False
        if x.abs().max() > 1:
            loud = True
            x = x / 2
        x = self.layers[0](x)
        if loud:
            x = x * 3
        return x


class DropByGate(Gated):
    def forward(self, x: Tensor, keep_all: Tensor) -> Tensor:
        for layer in self.layers:
            if keep_all or torch.rand(()) < 0.5:
                x = layer(x)
        return x


# What is written into a tensor, or into a view of it, is seen in its sum.
class WrittenGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        notes = torch.zeros(3)
        notes[0] = x.mean()
        notes[1:2].copy_(x[0, :1])
        if notes.sum() > 0:
            x = self.layers[0](x)
        return self.layers[1](x) if random.random() < 0.5 else x


def mean_of(x: Tensor) -> Tensor:
    return x.mean()


class ScriptedGate(Gated):
    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13: torch.jit.script is deprecated
            self.mean_of = torch.jit.script(mean_of)

    def forward(self, x: Tensor) -> Tensor:
        if self.mean_of(x) > 0:
            x = self.layers[0](x)
        return self.layers[1](x) if random.random() < 0.5 else x


# One condition, asked three times.
class ReusedGate(Gated):
    def forward(self, x: Tensor) -> Tensor:
        loud = x.mean() > 0
        both = loud and random.random() < 0.5
        return self.layers[0](x) if both or not loud else x


# Adaptive computation: the condition is first asked of what no input has touched yet.
class Halting(Gated):
    def forward(self, x: Tensor) -> Tensor:
        halted = torch.zeros(x.shape[0])
        for _ in range(3):
            if not (halted < 1).any():
                break
            halted = halted + self.layers[0](x).sigmoid().mean(-1)
            x = self.layers[1](x).tanh()
        return x


class HaltingWhile(Gated):
    def forward(self, x: Tensor) -> Tensor:
        total, turns = torch.zeros(()), 0
        while total < 1 and turns < 3:
            total = total + self.layers[0](x).sigmoid().mean()
            x, turns = self.layers[1](x).tanh(), turns + 1
        return x


POSITIVE, NEGATIVE = example(shift=3.0), example(shift=-3.0)


class EqualInputs(Gated):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x) if random.random() < 0.5 else x
        return self.layers[1](x) if torch.equal(x, x.abs()) else x


CASES = [
    case("gates/equal_inputs", EqualInputs, 2, POSITIVE, gates=1),
    case("gates/written", WrittenGate, 2, POSITIVE, gates=1),
    case("gates/scripted", ScriptedGate, 2, NEGATIVE, gates=1),
    case("gates/reused", ReusedGate, 2, POSITIVE, gates=1),
    case("gates/mean", MeanGate, 1, POSITIVE, gates=1, default=True),
    case("gates/mean_closed", MeanGate, 1, NEGATIVE, gates=1),
    case("gates/item", ItemGate, 1, POSITIVE, gates=1),
    case("gates/bool", BoolGate, 1, POSITIVE, gates=1),
    case("gates/any", AnyGate, 1, POSITIVE, gates=1),
    case("gates/elif", ElifGate, 1, POSITIVE, gates=2),
    case("gates/elif_last", ElifGate, 1, NEGATIVE, gates=2),
    case("gates/ternary", TernaryGate, 1, NEGATIVE, gates=1),
    case("gates/not", NotGate, 1, POSITIVE, gates=1),
    case("gates/nested", NestedGate, 1, POSITIVE, gates=2),
    case("gates/and", AndGate, 1, POSITIVE, gates=2),
    case("gates/early_exit", EarlyExit, 1, gates=2, default=True),
    case("gates/early_exit_break", EarlyExitBreak, 1, POSITIVE, gates=3),
    case("gates/around_skip", GateAroundSkip, 2, POSITIVE, gates=1),
    case("gates/in_skip", SkipAroundGate, 2, POSITIVE, gates=1),
    case("gates/in_skip_closed", SkipAroundGate, 2, NEGATIVE, gates=1),
    case("gates/after_skip", GateAfterSkip, 2, POSITIVE, gates=1),
    case("gates/layer_drop", LayerDropWithGates, 4, POSITIVE, gates=2),
    case("gates/and_coin", GateAndCoin, 2, POSITIVE, gates=1),
    case("gates/coin_and", CoinAndGate, 2, POSITIVE, gates=1),
    case("gates/coin_or", CoinOrGate, 2, NEGATIVE, gates=1),
    case("gates/while", WhileGate, 1, POSITIVE, gates=3),
    case("gates/while_and_coin", WhileGateAndCoin, 3, POSITIVE, gates=2),
    case("gates/halting", Halting, 1, gates=2, default=True),
    case("gates/halting_while", HaltingWhile, 1, gates=3),
    case("gates/integer", IntegerGate, 1, torch.tensor([[1, 2], [3, 9]]), torch.tensor(2), gates=2),
    case("gates/size", SizeCondition, 2),
    case("gates/flag", GateFlag, 1, POSITIVE, gates=1),
    case("gates/input_or_coin", DropByGate, 4, example(), torch.tensor(False), gates=1),
]
