"""The networks that are timed: routed, with a path really removed, and dense with every branch computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import rr_export as rr


@dataclass(frozen=True)
class Size:
    """Sizes of an encoder: width, feed-forward width, heads, layers, tokens."""

    width: int
    hidden: int
    heads: int
    layers: int
    tokens: int


class EncoderLayer(nn.Module):
    """A pre-norm transformer encoder layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.query, self.key, self.value, self.out = (nn.Linear(size.width, size.width) for _ in range(4))
        self.up, self.down = nn.Linear(size.width, size.hidden), nn.Linear(size.hidden, size.width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.before_attention(x)
        query, key, value = (
            f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        result: Tensor = x + self.down(F.gelu(self.up(self.before_mlp(x))))
        return result


class Mlp(nn.Module):
    """A pre-norm feed-forward block."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size.width)
        self.up, self.down = nn.Linear(size.width, size.hidden), nn.Linear(size.hidden, size.width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(F.gelu(self.up(self.norm(x))))
        return result


class DenseSkips(nn.Module):
    """Every layer computed, and kept where ``routes`` says so: what one writes without control flow."""

    def __init__(self, layers: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(layers), head

    def forward(self, x: Tensor, routes: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = torch.where(routes[i] > 0, layer(x), x)
        result: Tensor = self.head(x)
        return result


class DenseBranches(nn.Module):
    """Every branch of every group computed, and one taken by ``routes``."""

    def __init__(self, groups: Sequence[Sequence[nn.Module]], head: nn.Module) -> None:
        super().__init__()
        self.branches, self.head = nn.ModuleList(block for group in groups for block in group), head
        self.count = len(groups[0])

    def forward(self, x: Tensor, routes: Tensor) -> Tensor:
        for first in range(0, len(self.branches), self.count):
            chosen = self.branches[first](x)
            for k in range(1, self.count):
                chosen = torch.where(routes[first // self.count] == k, self.branches[first + k](x), chosen)
            x = chosen
        result: Tensor = self.head(x)
        return result


def encoder_layers(size: Size) -> tuple[list[nn.Module], nn.Module]:
    """Returns the layers of an encoder and its last norm, in evaluation mode, always with the same weights."""
    torch.manual_seed(0)
    return [EncoderLayer(size).eval() for _ in range(size.layers)], nn.LayerNorm(size.width).eval()


def mlp_groups(size: Size, branches: int) -> tuple[list[list[nn.Module]], nn.Module]:
    """Returns ``size.layers`` groups of blocks and the last norm, always with the same weights."""
    torch.manual_seed(0)
    return [[Mlp(size).eval() for _ in range(branches)] for _ in range(size.layers)], nn.LayerNorm(size.width).eval()


def routed_skips(layers: Sequence[nn.Module], head: nn.Module, keep: float = 0.7) -> nn.Module:
    """Returns the layers, each a site that may be skipped."""
    return nn.Sequential(*(rr.LayerChoice(layer, keep) for layer in layers), head).eval()


def routed_branches(groups: Sequence[Sequence[nn.Module]], head: nn.Module) -> nn.Module:
    """Returns the groups, each a site with one branch per block."""
    return nn.Sequential(*(rr.OperationChoice(list(g), rr.Uniform(len(g))) for g in groups), head).eval()


def on_path(layers: Sequence[nn.Module], head: nn.Module, path: Sequence[int]) -> nn.Module:
    """Returns the network in which only the layers of ``path`` exist: a plain module, without sites."""
    return nn.Sequential(*(layer for layer, route in zip(layers, path, strict=True) if route), head).eval()


def example(size: Size) -> Tensor:
    """Returns one input, float32 [1, tokens, width]."""
    torch.manual_seed(1)
    return torch.randn(1, size.tokens, size.width)
