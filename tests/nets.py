"""Small routed models for the tests; each function returns a fresh one in evaluation mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import rr_export as rr

WIDTH = 8


class Mlp(nn.Module):
    """Two linear layers, and something that depends on the batch size."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.up, self.down, self.factor = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH), factor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.up(x).relu()) * self.factor
        return y + torch.full((x.shape[0], 1), 0.5)


class Everything(nn.Module):
    """Operation, layer and parameter routing; nesting; a chain; sites called twice; a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        chain = rr.Markov([0.3, 0.7], [[0.1, 0.9], [0.8, 0.2]])
        self.pre = nn.Linear(WIDTH, WIDTH)
        inner = nn.Sequential(rr.LayerChoice(Mlp(3.0), 0.5), nn.ReLU())
        self.op = rr.OperationChoice({"mlp": Mlp(), "same": nn.Identity(), "nested": inner}, rr.Uniform(3))
        self.first = rr.LayerChoice(Mlp(2.0), policy=chain.step(0))
        self.second = rr.LayerChoice(Mlp(2.0), policy=chain.step(1))
        self.shared = rr.LayerChoice(self.first.layer, policy=chain.step(2))
        self.sets = rr.ParameterChoice(nn.Linear(WIDTH, WIDTH), 4, rr.Categorical([0.1, 0.2, 0.3, 0.4]))
        for copy in self.sets.copies:
            copy.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.op(self.pre(x))
        x = self.shared(self.second(self.first(x)))
        x = self.first(self.sets(x))
        return {"y": x, "aux": (x.mean(),)}


class Pair(nn.Module):
    """One site between a layer before and a layer after."""

    def __init__(self, site: nn.Module) -> None:
        super().__init__()
        self.before, self.site, self.after = nn.Linear(WIDTH, WIDTH), site, nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.after(self.site(self.before(x)))
        return result


def everything() -> nn.Module:
    torch.manual_seed(0)
    return Everything().eval()


def pair(*branches: nn.Module, policy: Any = None) -> nn.Module:
    torch.manual_seed(0)
    return Pair(rr.OperationChoice(list(branches), policy or rr.Uniform(len(branches)))).eval()


def layers(count: int, keep: float = 0.5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(rr.LayerChoice(nn.Linear(WIDTH, WIDTH), keep) for _ in range(count))).eval()


def example() -> Tensor:
    return torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))


class PooledLogits(nn.Module):
    """Logits of ``count`` branches for the whole batch."""

    def __init__(self, count: int, scale: float = 4.0) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(WIDTH, count), scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x).mean(0) * self.scale
        return logits


def gated(decision: str = "sample", *, report: bool = False) -> nn.Module:
    """A gate at the top, one inside a branch of a site that draws with a site behind it, and a chain beside them."""
    torch.manual_seed(0)
    chain = rr.Markov([0.3, 0.7], [[0.1, 0.9], [0.8, 0.2]])
    inner = rr.OperationChoice([Mlp(), Mlp(), Mlp()], rr.Gate(PooledLogits(3), 3, decision=decision, report=report))
    first = rr.LayerChoice(Mlp(), policy=rr.Gate(PooledLogits(2), 2, decision=decision, report=report))
    later = [rr.LayerChoice(Mlp(), policy=chain.step(t)) for t in range(2)]
    nested = nn.Sequential(Mlp(), inner, rr.LayerChoice(Mlp(), 0.5))
    outer = rr.OperationChoice([nn.Identity(), nested], rr.Categorical([0.4, 0.6]))
    return nn.Sequential(first, later[0], outer, later[1], nn.Linear(WIDTH, 3)).eval()
