"""Small routed models of every kind, whose weights are the same exact numbers on every machine.

``settle`` sets each weight to multiples of 1/64 made from the generator of section 3 of the contract: torch's own
initialisations may differ in the last bit between machines, and these are exact in float16, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import rr_export as rr
from rr_runtime import draws

WIDTH = 4
STEP = 64  # weights are multiples of 1/64


def settle(model: nn.Module) -> nn.Module:
    """Returns the model in evaluation mode, every weight a multiple of 1/64 that depends on its place alone."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    with torch.no_grad():
        for number, (name, tensor) in enumerate(tensors):
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(_weights(name, number, tuple(tensor.shape))).to(tensor.dtype))
    return model.eval()


def numbers(*shape: int, seed: int = 1, low: float = -2.0, high: float = 2.0, step: int = 16) -> Tensor:
    """Returns float32 multiples of 1/step in [low, high), the draws of a seed."""
    unit = draws(seed, int(np.prod(shape))).astype(np.float64)
    values = np.floor((low + unit * (high - low)) * step) / step
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def whole(*shape: int, below: int, seed: int = 1, dtype: torch.dtype = torch.int64) -> Tensor:
    """Returns whole numbers in [0, below), the draws of a seed."""
    return numbers(*shape, seed=seed, low=0, high=below, step=1).to(dtype)


def _weights(name: str, number: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape)) if shape else 1
    spread = 2 * draws(1000 + number, size).astype(np.float64).reshape(shape) - 1  # in [-1, 1)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 4
    values = 1.8 * spread / fan_in**0.5
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        values = 1 + 0.5 * spread  # of a normalisation
    if name.endswith("scale"):
        values = spread
    return np.round(values * STEP) / STEP


def linear(inputs: int = WIDTH, outputs: int = WIDTH) -> nn.Linear:
    """Returns a linear layer, whose weights are not settled yet."""
    return nn.Linear(inputs, outputs)


class Stack(nn.Sequential):
    """Modules one after the other, with an input called x."""

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


class Mlp(nn.Module):
    """A residual layer of two products."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.up, self.down = linear(width, 2 * width), linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(self.up(x).relu())
        return result


class Scaled(nn.Module):
    """A tanh with a learned scale: no product."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) * self.scale


class Attention(nn.Module):
    """A pre-norm transformer layer with two heads."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.before, self.middle = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (linear(width, width) for _ in range(4))
        self.up, self.down = linear(width, width), linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        q, k, v = (f(h).unflatten(-1, (2, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        weights = (q @ k.transpose(-1, -2) / 2.0).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        result: Tensor = x + self.down(F.gelu(self.up(self.middle(x))))
        return result


class Recurrent(nn.Module):
    """A recurrent layer over [N, T, C], its states or its last one."""

    def __init__(self, kind: type[nn.RNNBase], width: int = WIDTH) -> None:
        super().__init__()
        self.cell = kind(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x)[0]
        return states


class Counting(nn.Module):
    """Returns numbers of three types: the inputs scaled, a count of those above a bound, and which ones these are."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound, self.map = bound, linear()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        above = x > self.bound  # bounds lie between the inputs, so that no rounding decides
        return self.map(x), above.sum(-1), above


class Counts(nn.Module):
    """A choice whose branches return tuples of float32, int64 and bool."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = rr.OperationChoice(
            {"low": Counting(-1.03125), "middle": Counting(0.03125), "high": Counting(1.03125)}, rr.Uniform(3)
        )
        self.layer = rr.LayerChoice(Mlp(), 0.5)

    def forward(self, x: Tensor) -> dict[str, Any]:
        y, count, above = self.choice(x)
        return {"y": self.layer(y), "statistics": (count, above.any(-1)), "above": above}


class Words(nn.Module):
    """Tokens, int64 [N, T], embedded; the sum of their layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        self.layers = nn.Sequential(rr.LayerChoice(Mlp(), 0.7), rr.LayerChoice(Mlp(), 0.4))
        self.head = linear()

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.layers(self.embedding(tokens)) * mask.unsqueeze(-1)
        result: Tensor = self.head(x.sum(1))
        return result


class Whole(nn.Module):
    """Arithmetic on int32 and uint8, in branches and beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = rr.OperationChoice([_Plus(3), _Plus(-70_000), nn.Identity()], rr.Categorical([0.2, 0.5, 0.3]))

    def forward(self, count: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        y = self.choice(count)
        return y * 2 - 1, y.sum(-1) + level.to(torch.int32)


class _Plus(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return x * 5 + self.number


class Images(nn.Module):
    """Operations on feature maps: convolutions, a depthwise one, a pool; normalised, averaged, classified."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)
        separable = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH), nn.Conv2d(WIDTH, WIDTH, 1))
        self.operation = rr.OperationChoice(
            {"conv": nn.Conv2d(WIDTH, WIDTH, 3, padding=1), "separable": separable, "pool": nn.MaxPool2d(3, 1, 1)},
            rr.Categorical([0.5, 0.3, 0.2]),
        )
        self.layer = rr.LayerChoice(nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1), nn.ReLU()), 0.6)
        self.head = linear(WIDTH, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.layer(self.operation(F.relu(self.norm(self.stem(image)))))
        result: Tensor = self.head(x.mean((2, 3)))
        return result


class Convs(nn.Module):
    """Two residual blocks of convolutions, each run or skipped, of a size that QNN computes wrongly inside an If."""

    CHANNELS = 8

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = (nn.Conv2d(Convs.CHANNELS, Convs.CHANNELS, 3, padding=1) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = x + self.down(F.relu(self.up(x)))
            return result

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(2, self.CHANNELS, 3, padding=1), nn.Conv2d(self.CHANNELS, 3, 1)
        self.first, self.second = (rr.LayerChoice(Convs.Block(), keep) for keep in (0.5, 0.7))

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.head(self.second(self.first(self.stem(image))))
        return result


class Chain(nn.Module):
    """Three steps of a Markov chain; ``within``: the middle one stands inside a branch, so it is not always reached."""

    def __init__(self, *, within: bool) -> None:
        super().__init__()
        law = rr.Markov([0.2, 0.3, 0.5], [[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4]])
        self.first, middle, self.last = (
            rr.OperationChoice({"mlp": Mlp(), "linear": linear(), "same": nn.Identity()}, law.step(t)) for t in range(3)
        )
        self.middle = rr.LayerChoice(nn.Sequential(middle, linear()), 0.5) if within else middle

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.middle(self.first(x)))
        return result


class Nested(nn.Module):
    """Sites inside branches of sites, ``depth`` deep; the innermost branch is called twice."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        inner: nn.Module = rr.LayerChoice(Mlp(), 0.6)
        branch: nn.Module = nn.Sequential(inner, linear(), inner)
        for _ in range(depth - 1):
            branch = rr.OperationChoice({"deep": branch, "flat": Mlp(), "same": nn.Identity()}, rr.Uniform(3))
            branch = nn.Sequential(linear(), branch)
        self.body, self.layer, self.head = branch, rr.LayerChoice(linear(), 0.5), linear()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.layer(self.body(x)))
        return result


class Shared(nn.Module):
    """One site called three times, and a second site that shares its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = rr.LayerChoice(Mlp(), 0.7)
        self.other = rr.LayerChoice(self.layer.layer, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.tanh(self.layer(x))
        result: Tensor = self.other(x)
        return result


class Idle(nn.Module):
    """A site whose result nobody reads, between two that matter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unread, self.last = (rr.LayerChoice(linear(), keep) for keep in (0.5, 0.6, 0.7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.unread(x)
        result: Tensor = self.last(x)
        return result


class Sequence(nn.Module):
    """Layers over [N, T, C] that use the sizes, and a mean over T."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = rr.LayerChoice(Attention(), 0.6), rr.LayerChoice(Mlp(8), 0.4)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(self.second(self.first(x)))
        return {"y": y, "mean": y.mean(1)}


def layers(*keeps: float, layer: Any = linear, width: int = WIDTH) -> nn.Module:
    """Returns layers that are run or skipped, and a last one that is always run."""
    return Stack(*(rr.LayerChoice(layer(), keep) for keep in keeps), linear(width, width))


class Gated(nn.Module):
    """Gates by a mean over the batch: one that draws, inside its branch one that takes the likeliest, and one more.

    Args:
        report: the file also tells the probabilities of the first gate.
    """

    def __init__(self, *, report: bool = False) -> None:
        super().__init__()
        inner = rr.LayerChoice(Mlp(), policy=rr.Gate(Pooled(2), 2, decision="argmax"))
        deep = nn.Sequential(linear(), inner, linear())
        branches = {"deep": deep, "scaled": Scaled(), "linear": linear()}
        self.first = rr.OperationChoice(branches, rr.Gate(Pooled(3), 3, report=report))
        self.second = rr.LayerChoice(Mlp(), 0.6)
        self.last = rr.ParameterChoice(linear(), 3, rr.Gate(Pooled(3), 3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.second(self.first(x)))
        return result


class Pooled(nn.Module):
    """Logits from the mean over the batch."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, k, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear(x).mean(0)
        return result


def operation() -> nn.Module:
    """Returns a choice of four operations."""
    branches = {"mlp": Mlp(), "scaled": Scaled(), "same": nn.Identity(), "linear": linear()}
    return Stack(linear(), rr.OperationChoice(branches, rr.Categorical([0.1, 0.2, 0.3, 0.4])), linear())


def parameter() -> nn.Module:
    """Returns a linear layer with one of four parameter sets, and an MLP with one of two."""
    sets = rr.ParameterChoice(linear(), 4, rr.Categorical([0.1, 0.2, 0.3, 0.4]))
    return Stack(linear(), sets, nn.ReLU(), rr.ParameterChoice(Mlp(), 2, rr.Uniform(2)))


def tree() -> nn.Module:
    """Returns a choice of sixteen layers."""
    return Stack(rr.OperationChoice([linear() for _ in range(16)], rr.Uniform(16)), linear())


def impossible() -> nn.Module:
    """Returns choices with branches of probability zero: first, in the middle, last."""
    first = rr.OperationChoice([linear() for _ in range(5)], rr.Categorical([0.0, 0.5, 0.0, 0.5, 0.0]))
    return Stack(first, rr.LayerChoice(linear(), 0.0), rr.LayerChoice(linear(), 1.0), linear())


def without_sites() -> nn.Module:
    """Returns a model without sites."""
    return Stack(Mlp(), Scaled(), linear())
