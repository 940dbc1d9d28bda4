"""Decisions behind a call: in methods, closures, decorators, properties and child modules."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.branches import OneDrawElif
from tests.zoo.parts import WIDTH, Two, case


class HelperMethod(Two):
    def keep(self, p: float) -> bool:
        return torch.rand(()).item() < p

    def forward(self, x: Tensor) -> Tensor:
        if self.keep(0.7):
            x = self.first(x)
        if self.keep(0.4):
            x = self.second(x)
        return x


class HelperReturnsEarly(Two):
    def _mix(self, x: Tensor, p: float) -> Tensor:
        if torch.rand(()) < p:
            return x
        x = self.first(x)
        return x.relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self._mix(x + 1, p=0.3))


class HelperNested(Two):
    def inner(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            return self.first(x)
        return x

    def outer(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            return -x
        return self.inner(x) * 3

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(x)


class Closure(Two):
    def forward(self, x: Tensor) -> Tensor:
        bias = 0.5

        def step(layer: nn.Module, y: Tensor) -> Tensor:
            if torch.rand(()) < 0.5:
                return layer(y) + bias
            return y

        return step(self.second, step(self.first, x))


class ClosureNonlocal(Two):
    def forward(self, x: Tensor) -> Tensor:
        def apply(layer: nn.Module) -> None:
            nonlocal x
            if random.random() < 0.5:
                x = layer(x)

        apply(self.first)
        apply(self.second)
        return x


class Lambda(Two):
    def forward(self, x: Tensor) -> Tensor:
        maybe = lambda layer, y: layer(y) if torch.rand(()) < 0.5 else y  # noqa: E731
        return maybe(self.second, maybe(self.first, x))


class LambdaChosen(Two):
    def forward(self, x: Tensor) -> Tensor:
        ops: list[Callable[[Tensor], Tensor]] = [lambda t: self.first(t), lambda t: t.abs(), torch.sin]
        return random.choice(ops)(x)


class PartialApplied(Two):
    def run(self, layer: nn.Module, x: Tensor, p: float) -> Tensor:
        return layer(x) if torch.rand(()) < p else x

    def forward(self, x: Tensor) -> Tensor:
        step = functools.partial(self.run, self.first, p=0.8)
        return step(x)


def logged(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(forward)
    def wrapper(self: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        return forward(self, *args, **kwargs) * 1.5

    return wrapper


class Decorated(Two):
    @logged
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.first(x)
        return x


def sometimes(p: float) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    def decorate(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(forward)
        def wrapper(self: nn.Module, x: Tensor) -> Tensor:
            return forward(self, x) if random.random() < p else x

        return wrapper

    return decorate


class DecoratorDraws(Two):
    @sometimes(0.4)
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class DecoratedNoGrad(Two):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            return self.first(x)
        return self.second(x)


class Property(Two):
    @property
    def active(self) -> bool:
        return random.random() < 0.6

    def forward(self, x: Tensor) -> Tensor:
        if self.active:
            x = self.first(x)
        return x


def drop_layer(x: Tensor, layer: nn.Module, p: float = 0.3, training: bool = True) -> Tensor:
    if not training or torch.rand(()) >= p:
        return layer(x)
    return x


class ModuleLevelFunction(Two):
    def forward(self, x: Tensor) -> Tensor:
        x = drop_layer(x, self.first)
        return drop_layer(x, self.second, p=0.6)


class StaticMethod(Two):
    @staticmethod
    def coin(p: float) -> bool:
        return bool(torch.rand(1) < p)

    def forward(self, x: Tensor) -> Tensor:
        if StaticMethod.coin(0.5):
            return self.first(x)
        return self.second(x)


class Super(OneDrawElif):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if torch.rand(()) < 0.5:
            y = y.tanh()
        return y


class Child(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.layer = p, nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < self.p:
            return x
        return self.layer(x)


class Children(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Child(0.2), Child(0.6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).sin()
        if random.random() < 0.5:
            x = self.b(x) + 1
        return x


CASES = [
    case("calls/helper_method", HelperMethod, 4),
    case("calls/helper_returns_early", HelperReturnsEarly, 2),
    case("calls/helper_nested", HelperNested, 3),
    case("calls/closure", Closure, 4),
    case("calls/closure_nonlocal", ClosureNonlocal, 4),
    case("calls/lambda", Lambda, 4),
    case("calls/lambda_chosen", LambdaChosen, 3),
    case("calls/partial_applied", PartialApplied, 2),
    case("calls/decorated", Decorated, 2),
    case("calls/decorator_draws", DecoratorDraws, 2),
    case("calls/decorated_no_grad", DecoratedNoGrad, 2),
    case("calls/property", Property, 2),
    case("calls/module_level_function", ModuleLevelFunction, 4),
    case("calls/static_method", StaticMethod, 2),
    case("calls/super", Super, 6),
    case("calls/children", Children, 6),
]
