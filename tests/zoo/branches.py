"""Decisions in every form of a branch."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.parts import WIDTH, Two, case, linears


class OneDrawElif(Two):
    def forward(self, x: Tensor) -> Tensor:
        r = torch.rand(())
        if r < 0.3:
            x = self.first(x)
        elif r < 0.6:
            x = self.second(x)
        else:
            x = x * 2
        return x + 1


class OneDrawElifNoElse(Two):
    def forward(self, x: Tensor) -> Tensor:
        r = random.random()
        y = x.cos()
        if r > 0.8:
            y = self.first(x)
        elif r > 0.4:
            y = self.second(y)
        return y


class TwoDrawsElif(Two):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.3:
            return self.first(x)
        elif torch.rand(()) < 0.5:
            return self.second(x)
        else:
            return x


class NestedDraw(Two):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.6:
            x = self.first(x)
            if torch.rand(()) < 0.4:
                x = self.second(x)
        return x


class NestedInBoth(Two):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.6:
            if torch.rand(()) < 0.4:
                x = self.first(x)
                x = x.relu()
            else:
                x = self.second(x)
        else:
            if torch.rand(()) < 0.2:
                x = x.exp()
        return x


class NestedDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.9:
            x = self.layers[0](x)
            if random.random() < 0.8:
                x = self.layers[1](x)
                if random.random() < 0.7:
                    x = self.layers[2](x)
                x = x.tanh()
            x = x + 1
        return x


class EarlyReturn(Two):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if torch.rand(()) < 0.25:
            return x
        x = F.relu(x)
        if torch.rand(()) < 0.25:
            return x
        return self.second(x)


class EarlyReturnNested(Two):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.first(x)
            if torch.rand(()) < 0.5:
                return x.sigmoid()
        return self.second(x)


class Ternary(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if torch.rand(()) < 0.5 else self.second(x)


class TernaryChain(Two):
    def forward(self, x: Tensor) -> Tensor:
        r = torch.rand(()).item()
        return self.first(x) if r < 0.2 else self.second(x) if r < 0.5 else x


class TernaryModule(Two):
    def forward(self, x: Tensor) -> Tensor:
        layer = self.first if torch.rand(1).item() < 0.3 else self.second
        return layer(x)


class TernaryInCall(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x) if random.random() < 0.5 else x)


class TernaryNumber(Two):
    def forward(self, x: Tensor) -> Tensor:
        scale = 2.0 if torch.rand(()) < 0.5 else -1.0
        return self.first(x) * scale


# The second coin is thrown where the first says yes: three paths, two outcomes.
class And(Two):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.8 and torch.rand(()) < 0.7:
            x = self.first(x)
        return x


class Or(Two):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.2 or random.random() < 0.3:
            return self.second(x)
        return x


class Not(Two):
    def forward(self, x: Tensor) -> Tensor:
        skip = torch.rand(()) < 0.4
        if not skip:
            x = self.first(x)
        return x


# Four paths, three outcomes.
class AndOrNot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        a = bool(torch.rand(()) < 0.5)
        b = bool(torch.rand(()) < 0.5)
        if a and not b:
            x = self.layers[0](x)
        if not (a or b):
            x = self.layers[1](x)
        return x


class AndSetting(nn.Module):
    def __init__(self, enabled: bool = True, threshold: float = 0.3) -> None:
        super().__init__()
        self.enabled, self.threshold = enabled, threshold
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if self.enabled and not self.training and torch.rand(()) > self.threshold:
            x = self.layer(x)
        return x


# Below, between and above are three routes, of which two take the same layer.
class ChainedComparison(Two):
    def forward(self, x: Tensor) -> Tensor:
        if 0.2 < random.random() < 0.6:
            return self.first(x)
        return self.second(x)


class Match(Two):
    def forward(self, x: Tensor) -> Tensor:
        match random.randrange(3):
            case 0:
                return self.first(x)
            case 1:
                return self.second(x)
            case _:
                return x


class TryFinally(Two):
    def forward(self, x: Tensor) -> Tensor:
        try:
            if torch.rand(()) < 0.5:
                x = self.first(x)
        finally:
            x = x + 1
        return x


class WithNoGrad(Two):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if torch.rand(()) < 0.5:
                x = self.first(x)
        return self.second(x)


class WithReturn(Two):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if torch.rand(()) < 0.5:
                return self.first(x)
            x = x.sigmoid()
        return self.second(x)


class Walrus(Two):
    def forward(self, x: Tensor) -> Tensor:
        if (r := torch.rand(()).item()) < 0.2:
            return self.first(x)
        if r < 0.6:
            return self.second(x)
        return x


class Swapped(Two):
    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first, self.second
        if torch.rand(()) < 0.5:
            a, b = b, a
        return b(a(x).relu())


class Augmented(Two):
    def forward(self, x: Tensor) -> Tensor:
        scale, shift = 1.0, 0
        if torch.rand(()) < 0.5:
            scale *= 2
            shift -= 1
        y = self.first(x) * scale
        if torch.rand(()) < 0.5:
            shift += 2
        return y + shift


class FromDict(Two):
    def forward(self, x: Tensor) -> Tensor:
        table = {True: self.first, False: self.second}
        return table[bool(torch.rand(()) < 0.3)](x)


class FromList(Two):
    def forward(self, x: Tensor) -> Tensor:
        return [self.first, self.second][int(random.random() < 0.3)](x)


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for k in range(3):
            setattr(self, f"conv{k}", nn.Conv1d(1, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        k = random.randint(0, 2)
        return getattr(self, f"conv{k}")(x[:, None])[:, 0]


# Local names of a branch that nothing reads afterwards.
class LocalsOfBranch(Two):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            hidden = self.first(x)
            gate = hidden.sigmoid()
            x = hidden * gate
        else:
            hidden = self.second(x)
            x = hidden.clamp(min=0)
        return x


# Sides that have no tensor in common: a constant, and what depends on the input.
class ConstantSide(Two):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x) if torch.rand(()) < 0.5 else self.first(x)
        return y + x


# The second coin is thrown only where the first does not decide.
class AllOfTwo(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if all(random.random() < p for p in (0.4, 0.6)) else self.second(x)


class AnyOfTwo(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if any(random.random() < 0.4 for _ in range(2)) else self.second(x)


CASES = [
    case("branches/any_of_two", AnyOfTwo, 3),
    case("branches/all_of_two", AllOfTwo, 3),
    case("branches/one_draw_elif", OneDrawElif, 3, default=True),
    case("branches/one_draw_elif_no_else", OneDrawElifNoElse, 3),
    case("branches/two_draws_elif", TwoDrawsElif, 3),
    case("branches/nested_draw", NestedDraw, 3),
    case("branches/nested_in_both", NestedInBoth, 4),
    case("branches/nested_deep", NestedDeep, 4),
    case("branches/early_return", EarlyReturn, 3, default=True),
    case("branches/early_return_nested", EarlyReturnNested, 3),
    case("branches/ternary", Ternary, 2),
    case("branches/ternary_chain", TernaryChain, 3),
    case("branches/ternary_module", TernaryModule, 2),
    case("branches/ternary_in_call", TernaryInCall, 2),
    case("branches/ternary_number", TernaryNumber, 2),
    case("branches/and", And, 3),
    case("branches/or", Or, 3),
    case("branches/not", Not, 2),
    case("branches/and_or_not", AndOrNot, 4),
    case("branches/and_setting", AndSetting, 2),
    case("branches/chained_comparison", ChainedComparison, 3),
    case("branches/match", Match, 3),
    case("branches/try_finally", TryFinally, 2),
    case("branches/with_no_grad", WithNoGrad, 2),
    case("branches/with_return", WithReturn, 2),
    case("branches/walrus", Walrus, 3),
    case("branches/swapped", Swapped, 2),
    case("branches/augmented", Augmented, 4),
    case("branches/from_dict", FromDict, 2),
    case("branches/from_list", FromList, 2),
    case("branches/by_name", ByName, 3),
    case("branches/locals_of_branch", LocalsOfBranch, 2),
    case("branches/constant_side", ConstantSide, 2),
]
