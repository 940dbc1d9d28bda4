"""Decisions whose law depends on the decision before: the random-routing loop of the literature."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from tests.zoo.parts import WIDTH, case, linears

ROWS = [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.25, 0.25, 0.5]]
WITH_ZEROS = [[0.0, 0.5, 0.5], [0.7, 0.0, 0.3], [0.4, 0.6, 0.0]]
STOP = 3
TO_STOP = [[0.1, 0.4, 0.2, 0.3], [0.4, 0.1, 0.3, 0.2], [0.2, 0.2, 0.1, 0.5], [0.0, 0.0, 0.0, 1.0]]


class Routed(nn.Module):
    def __init__(self, rows: list[list[float]] = ROWS, steps: int = 3) -> None:
        super().__init__()
        self.blocks = linears(3)
        self.rows, self.steps = rows, steps
        self.register_buffer("P", torch.tensor(rows))


class TorchChain(Routed):
    def forward(self, x: Tensor) -> Tensor:
        state = torch.randint(3, ()).item()
        x = self.blocks[state](x)
        for _ in range(self.steps - 1):
            state = torch.multinomial(self.P[state], 1).item()
            x = self.blocks[state](x).tanh()
        return x


class TorchChainOfTensors(Routed):
    def __init__(self) -> None:
        super().__init__(steps=2)
        self.register_buffer("start", torch.tensor([0.5, 0.25, 0.25]))

    def forward(self, x: Tensor) -> Tensor:
        state = torch.multinomial(self.start, 1)
        for _ in range(self.steps):
            x = self.blocks[state](x) + 1
            state = torch.multinomial(self.P[state].squeeze(0), 1)
        return self.blocks[state](x)


# Never the same block twice in a row: zeros in the rows, but each block follows some other.
class NeverTwice(Routed):
    def __init__(self) -> None:
        super().__init__(rows=WITH_ZEROS, steps=2)

    def forward(self, x: Tensor) -> Tensor:
        route = random.choice([0, 1, 2])
        x = self.blocks[route](x)
        for _ in range(self.steps - 1):
            route = random.choices(range(3), weights=self.rows[route])[0]
            x = self.blocks[route](x)
        return x


class PythonChain(Routed):
    def forward(self, x: Tensor) -> Tensor:
        state = random.randrange(3)
        for step in range(self.steps):
            if step > 0:
                state = random.choices(range(3), weights=self.rows[state])[0]
            x = x + self.blocks[state](x)
        return x


# The start is fixed: its row is the law of the first choice.
class NumpyChain(Routed):
    def forward(self, x: Tensor) -> Tensor:
        current = 0
        x = self.blocks[current](x)
        for _ in range(self.steps - 1):
            current = np.random.choice(3, p=self.rows[current])
            x = self.blocks[current](x).relu() - x
        return x


class CategoricalChain(Routed):
    def __init__(self) -> None:
        super().__init__(steps=2)

    def forward(self, x: Tensor) -> Tensor:
        state = Categorical(torch.ones(3) / 3).sample()
        x = self.blocks[state](x)
        for _ in range(1, self.steps):
            state = Categorical(self.P[state]).sample()
            x = self.blocks[state](x)
        return x


# The rows as a dict of names, as code with named paths has it.
class NamedChain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.paths = nn.ModuleDict({"conv": nn.Linear(WIDTH, WIDTH), "attn": nn.Tanh(), "mlp": nn.Linear(WIDTH, WIDTH)})
        self.after = {
            "conv": {"attn": 0.7, "mlp": 0.3},
            "attn": {"mlp": 0.9, "conv": 0.1},
            "mlp": {"conv": 0.5, "attn": 0.5},
        }

    def forward(self, x: Tensor) -> Tensor:
        name = random.choice(list(self.paths))
        x = self.paths[name](x)
        table = self.after[name]
        name = random.choices(list(table), weights=list(table.values()))[0]
        return self.paths[name](x) + 1


class UntilStop(nn.Module):
    def __init__(self, most: int = 3) -> None:
        super().__init__()
        self.blocks = linears(3)
        self.most = most
        self.register_buffer("P", torch.tensor(TO_STOP))

    def forward(self, x: Tensor) -> Tensor:
        state = torch.randint(0, 3, (1,)).item()
        steps = 0
        while steps < self.most and state != STOP:
            x = self.blocks[state](x).tanh()
            state = torch.multinomial(self.P[state], 1).item()
            steps += 1
        return x


class ForUntilStop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        state = random.choices([0, 1, 2], weights=[2, 1, 1])[0]
        for _ in range(2):
            x = self.blocks[state](x)
            state = random.choices(range(4), weights=TO_STOP[state])[0]
            if state == STOP:
                return x.sigmoid()
        return x + state


# The last draw only tells whether to stop: 1 + 3 * (1 + 3 * 2) paths.
class NumpyUntilStop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = linears(3)
        self.rows = np.array(TO_STOP)

    def forward(self, x: Tensor) -> Tensor:
        state, taken = 0, []
        while len(taken) < 3:
            taken.append(state)
            state = np.random.choice(4, p=self.rows[state])
            if state == STOP:
                break
        for s in taken:
            x = self.blocks[s](x)
        return x * 2 if state == STOP else x


class StickyCoins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    # What was skipped makes the next skip likelier.
    def forward(self, x: Tensor) -> Tensor:
        p = 0.8
        for layer in self.layers:
            if torch.rand(()) < p:
                x = layer(x)
                p = 0.9
            else:
                p = 0.4
        return x


class CoinOfLastCoin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        last = False
        for layer in self.layers:
            last = random.random() < (0.3 if last else 0.7)
            if last:
                x = layer(x)
        return x


class BernoulliOfLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)
        self.register_buffer("probs", torch.tensor([0.25, 0.75]))

    def forward(self, x: Tensor) -> Tensor:
        coin = torch.bernoulli(torch.tensor(0.5)).long().item()
        x = self.layers[0](x) if coin else x
        coin = torch.bernoulli(self.probs[coin]).long().item()
        return self.layers[1](x) if coin else x


# Where the walk stands moves by one, up or down.
class Walk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        place = 1
        for _ in range(2):
            x = self.blocks[place](x)
            place = min(max(place + random.choice([-1, 1]), 0), 2)
        return self.blocks[place](x)


CASES = [
    case("chains/torch", TorchChain, 27),
    case("chains/torch_tensors", TorchChainOfTensors, 27),
    case("chains/never_twice", NeverTwice, 9),
    case("chains/python", PythonChain, 27),
    case("chains/numpy", NumpyChain, 9),
    case("chains/categorical", CategoricalChain, 9),
    case("chains/named", NamedChain, 6),
    case("chains/until_stop", UntilStop, 39),
    case("chains/for_until_stop", ForUntilStop, 39, default=True),
    case("chains/numpy_until_stop", NumpyUntilStop, 22),
    case("chains/sticky_coins", StickyCoins, 8, default=True),
    case("chains/coin_of_last_coin", CoinOfLastCoin, 8),
    case("chains/bernoulli_of_last", BernoulliOfLast, 4),
    case("chains/walk", Walk, 4),
]
