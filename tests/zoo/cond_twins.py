"""Models of the zoo written again, by hand, with ``torch.cond`` on ``torch.rand`` in place of every Python decision.

A twin has the class, and so the weights, of the model that it stands for; only ``forward`` differs. A branch may not
return what it was given, hence the clones. Draws stand where the Python has them, inside branches too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tests.zoo import chains, conds, draws, gates, loop_lengths, loops, parts, state, training

Function = Callable[[Tensor], Tensor]
THIRDS = (1 / 3, 2 / 3)


def coin(p: float | Tensor) -> Tensor:
    return torch.rand(()) < p


def same(x: Tensor) -> Tensor:
    return x.clone()


def maybe(p: float | Tensor, function: Function, x: Tensor) -> Tensor:
    return torch.cond(coin(p), function, same, (x,))


def pick(u: Tensor, thresholds: Sequence[float], functions: Sequence[Function], x: Tensor) -> Tensor:
    """Applies the function whose interval of [0, 1) the draw ``u`` is in."""
    first, *rest = functions
    if not rest:
        return first(x)
    return torch.cond(u < thresholds[0], first, lambda x: pick(u, thresholds[1:], rest, x), (x,))


class IfRand(draws.Skips):
    def forward(self, x: Tensor) -> Tensor:
        return maybe(self.p, self.layer, x)


class BernoulliTimes(draws.Skips):
    def forward(self, x: Tensor) -> Tensor:
        return maybe(self.p, lambda x: x + self.layer(x), x)


class ThirdsOfExperts(draws.Picks):
    def forward(self, x: Tensor) -> Tensor:
        return pick(torch.rand(()), THIRDS, list(self.experts), x)


class Multinomial(draws.Picks):
    def forward(self, x: Tensor) -> Tensor:
        return pick(torch.rand(()), (0.5, 0.7), list(self.experts), x)


class EarlyReturn(parts.Two):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(coin(0.25), same, self.rest, (self.first(x),))

    def rest(self, x: Tensor) -> Tensor:
        return torch.cond(coin(0.25), same, self.second, (x.relu(),))


class NestedDraw(parts.Two):
    def forward(self, x: Tensor) -> Tensor:
        return maybe(0.6, lambda x: maybe(0.4, self.second, self.first(x)), x)


class HelperMethod(parts.Two):
    def forward(self, x: Tensor) -> Tensor:
        return maybe(0.4, self.second, maybe(0.7, self.first, x))


class Enumerated(loops.Layers):
    def __init__(self) -> None:
        super().__init__(depth=3)

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers, start=1):
            x = torch.cond(coin(0.5 * i / 3), same, lambda x, layer=layer: x + layer(x).tanh(), (x,))
        return x


class Break(loops.Layers):
    def forward(self, x: Tensor) -> Tensor:
        return self.rest(0, x)

    def rest(self, i: int, x: Tensor) -> Tensor:
        if i == len(self.layers):
            return x.clone()
        return torch.cond(coin(0.2), same, lambda x: self.rest(i + 1, self.layers[i](x)), (x,))


class WhileRandom(loop_lengths.WhileRandom):
    def forward(self, x: Tensor) -> Tensor:
        return self.rest(4, x)

    def rest(self, most: int, x: Tensor) -> Tensor:
        if most == 0:
            return x.clone()
        return torch.cond(coin(0.7), lambda x: self.rest(most - 1, self.cell(x).tanh()), same, (x,))


class TorchChain(chains.Routed):
    def forward(self, x: Tensor) -> Tensor:
        row = torch.full((3,), 1 / 3)
        for step in range(self.steps):
            state = (torch.rand(()) >= row.cumsum(0)[:-1]).sum()
            x = pick(state, (1, 2), list(self.blocks), x)
            x = x.tanh() if step else x
            row = self.P.index_select(0, state.reshape(1))[0]  # `self.P[state]` is refused
        return x


class StickyCoins(chains.StickyCoins):
    def forward(self, x: Tensor) -> Tensor:
        p = torch.tensor(0.8)
        for layer in self.layers:
            kept = coin(p)
            x = torch.cond(kept, layer, same, (x,))
            p = torch.where(kept, 0.9, 0.4)
        return x


class AttributeMode(state.AttributeMode):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(coin(0.6), self.fast, lambda x: self.slow(self.slow(x)), (x,))


class MeanGate(gates.MeanGate):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(self.gate(x).mean() > 0, self.layers[0], lambda x: self.layers[1](x) + 1, (x,))


class GateAndCoin(gates.GateAndCoin):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(self.gate(x).mean() > 0, lambda x: maybe(0.5, self.layers[0], x), same, (x,))


class EarlyExit(gates.EarlyExit):
    def forward(self, x: Tensor) -> Tensor:
        return self.rest(0, x)

    def rest(self, i: int, x: Tensor) -> Tensor:
        x = torch.tanh(self.layers[i](x))
        logits = self.heads[i](x)
        if i == len(self.layers) - 1:
            return logits
        sure = logits.softmax(-1).amax(-1).min() > self.threshold
        return torch.cond(sure, lambda x, logits: logits.clone(), lambda x, logits: self.rest(i + 1, x), (x, logits))


class CondAndDraw(conds.CondAndDraw):
    def forward(self, x: Tensor) -> Tensor:
        return self.cond(maybe(0.5, self.layer, x))


def stochastic_depth() -> nn.Module:
    net = training.ConvNet((0.3, 0.4), "batch")
    net.features = nn.Sequential(net.features[0], *[MaybeBlock(block) for block in list(net.features)[1:]])
    return net


class MaybeBlock(nn.Module):
    """The residual block of torchvision, its branch skipped where it would be multiplied by 0."""

    def __init__(self, block: training.ConvBlock) -> None:
        super().__init__()
        self.block, self.keep = block.block, 1 - block.stochastic_depth.p

    def forward(self, x: Tensor) -> Tensor:
        return maybe(self.keep, lambda x: self.block(x) / self.keep + x, x)


class MaybeLayer(nn.Module):
    """A layer of Hugging Face around which stands the decision that its encoder makes in training."""

    def __init__(self, layer: nn.Module, drop: float) -> None:
        super().__init__()
        self.layer, self.drop = layer, drop

    def forward(self, x: Tensor, mask: Tensor | None, **options: object) -> Tensor:
        return maybe(1 - self.drop, lambda x: self.layer(x, mask, **options), x)


def layer_drop(encoder: nn.Module) -> nn.Module:
    encoder.layers = nn.ModuleList(MaybeLayer(layer, encoder.layerdrop) for layer in encoder.layers)
    return encoder
