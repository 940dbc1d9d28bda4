"""What the models of the zoo are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.case import Case

WIDTH = 4


class Two(nn.Module):
    """Two different linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)


class Layered(nn.Module):
    """A linear layer, and another one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.other = linears(2)


def example(rows: int = 2, shift: float = 0.0) -> Tensor:
    """Returns an input; where ``shift`` is 3 or -3 the sign of every sum is plain."""
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(1)) + shift


def linears(count: int) -> nn.ModuleList:
    """Returns ``count`` different linear layers."""
    return nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(count))


def model(build: Callable[[], nn.Module], *args: Any) -> Callable[[], tuple[nn.Module, tuple[Any, ...]]]:
    """Returns what makes the model with always the same weights, and its arguments (one example by default)."""

    def make() -> tuple[nn.Module, tuple[Any, ...]]:
        torch.manual_seed(0)
        return build().eval(), tuple(a.clone() if isinstance(a, Tensor) else a for a in args or (example(),))

    return make


def case(
    name: str,
    build: Callable[[], nn.Module],
    paths: int,
    *args: Any,
    gates: int = 0,
    refuses: str = "",
    default: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Case:
    """Returns the case of a model class; ``args`` are its inputs, one example where there are none."""
    return Case(name, model(build, *args), paths, gates, refuses, options or {}, default)
