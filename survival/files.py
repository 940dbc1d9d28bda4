"""The columns of the matrix: small routed models of every kind, really exported with every interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import rr_export as rr

WIDTH, HEADS, TOKENS, BATCH = 32, 4, 5, 3
OTHER_BATCH = 2  # the second size at which files are compared
INTERFACES = ("explicit", "host", "standalone")
AXES = {"x": {0: "batch"}}


class Block(nn.Module):
    """A pre-norm transformer layer: what fusions, quantisers and half precision look for."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.middle = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        h = self.before(x)
        q, k, v = (f(h).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        weights = (q @ k.transpose(-1, -2) / (WIDTH / HEADS) ** 0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        result: Tensor = x + self.down(F.gelu(self.up(self.middle(x))))
        return result


class Mlp(nn.Module):
    """A normalised feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        result: Tensor = x + self.down(self.up(self.norm(x)).relu())
        return result


class Separable(nn.Module):
    """A depthwise and a pointwise convolution with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.point, self.norm = nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        return F.relu(self.norm(self.point(self.depth(x))))


class Images(nn.Module):
    """Operation choices of three and of five operations on feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.three = rr.OperationChoice(
            {"conv": _conv(3), "separable": Separable(), "pool": nn.MaxPool2d(3, stride=1, padding=1)},
            rr.Categorical([0.5, 0.3, 0.2]),
        )
        depthwise = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.five = rr.OperationChoice([_conv(1), _conv(3), Separable(), nn.Identity(), depthwise], rr.Uniform(5))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        result: Tensor = self.head(self.norm(self.five(self.three(F.relu(self.stem(x)))).mean((2, 3))))
        return result


class Nested(nn.Module):
    """Sites inside a branch of a site; one inner site, and one shared layer, are called twice."""

    def __init__(self) -> None:
        super().__init__()
        inner = rr.LayerChoice(Mlp(), 0.6)
        shared = Mlp()
        deep = nn.Sequential(
            inner, rr.OperationChoice({"shared": shared, "own": Mlp()}, rr.Uniform(2)), inner, nn.Linear(WIDTH, WIDTH)
        )
        self.outer = rr.OperationChoice({"deep": deep, "flat": Mlp(), "same": nn.Identity()}, rr.Uniform(3))
        self.last = rr.LayerChoice(shared, 0.5)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        result: Tensor = self.head(self.last(self.outer(x)))
        return result


class Mixed(nn.Module):
    """All kinds of sites in one model, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        chain = rr.Markov([0.3, 0.7], [[0.2, 0.8], [0.6, 0.4]])
        inner = nn.Sequential(rr.LayerChoice(Mlp(), 0.5), nn.Linear(WIDTH, WIDTH))
        self.operation = rr.OperationChoice({"block": Block(), "nested": inner, "same": nn.Identity()}, rr.Uniform(3))
        self.first = rr.LayerChoice(Mlp(), policy=chain.step(0))
        self.second = rr.LayerChoice(Block(), policy=chain.step(1))
        self.sets = rr.ParameterChoice(nn.Linear(WIDTH, WIDTH), _linears(3), rr.Categorical([0.1, 0.2, 0.3, 0.4]))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns the outputs for x."""
        y = self.sets(self.second(self.first(self.operation(x))))
        return {"y": y, "mean": y.mean((1, 2))}


class Stack(nn.Sequential):
    """Modules one after the other, with an input called x."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        for module in self:
            x = module(x)
        return x


def _conv(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, size, padding=size // 2), nn.ReLU())


def _linears(count: int) -> list[nn.Module]:
    return [nn.Linear(WIDTH, WIDTH) for _ in range(count)]


class Mean(nn.Module):
    """Logits from the mean over everything but the width."""

    def __init__(self, k: int, towards: int = 0, by: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, k)
        self.towards, self.by = towards, by

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits; one branch is likelier than the others by so much."""
        result: Tensor = self.linear(x.mean((0, 1)))
        lift = torch.zeros(result.shape[0])
        lift[self.towards] = self.by
        return result + lift


class Gates(nn.Module):
    """Gates that draw, one of them inside a branch, and one that takes the likeliest; their probabilities are told."""

    def __init__(self) -> None:
        super().__init__()
        inner = rr.OperationChoice([Mlp(), Mlp()], rr.Gate(Mean(2), 2, report=True))
        deep = nn.Sequential(nn.Linear(WIDTH, WIDTH), inner, nn.Linear(WIDTH, WIDTH))
        self.first = rr.OperationChoice(
            {"deep": deep, "flat": Block(), "same": nn.Identity()}, rr.Gate(Mean(3), 3, report=True)
        )
        self.sure = rr.LayerChoice(Mlp(), policy=rr.Gate(Mean(2, 1, 3.0), 2, decision="argmax", report=True))
        self.last = rr.LayerChoice(Block(), 0.5)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for x."""
        taken = self.first(x)
        result: Tensor = self.head(self.last(taken + self.sure(x)))
        return result


def _layers() -> nn.Module:
    return Stack(*(rr.LayerChoice(Block(), keep) for keep in (0.5, 0.7, 0.8, 0.4)), nn.LayerNorm(WIDTH))


def _sets() -> nn.Module:
    first = rr.ParameterChoice(nn.Linear(WIDTH, WIDTH), _linears(3), rr.Categorical([0.1, 0.2, 0.3, 0.4]))
    second = rr.ParameterChoice(Block(), [Block() for _ in range(3)], rr.Uniform(4))
    return Stack(nn.Linear(WIDTH, WIDTH), first, nn.ReLU(), second)


def _chain() -> nn.Module:
    chain = rr.Markov([0.2, 0.3, 0.5], [[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4]])
    steps = [
        rr.OperationChoice({"mlp": Mlp(), "linear": nn.Linear(WIDTH, WIDTH), "same": nn.Identity()}, chain.step(t))
        for t in range(3)
    ]
    return Stack(*steps, nn.Linear(WIDTH, WIDTH))


@dataclass(frozen=True)
class Model:
    """One kind of routed model.

    Attributes:
        name: in the table.
        summary: what it is, in one line.
        make: a fresh one.
        shape: of one element of a batch of its input ``x``.
        interfaces: in which it is exported.
    """

    name: str
    summary: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (TOKENS, WIDTH)
    interfaces: tuple[str, ...] = INTERFACES


_ALL = (
    Model("layers", "four transformer layers, each run or skipped", _layers),
    Model("operations", "one of three and one of five operations, convolutions among them", Images, (3, 8, 8)),
    Model("parameters", "a linear and a transformer layer with one of four parameter sets each", _sets),
    Model("chain", "a Markov chain of three steps over three operations", _chain),
    Model("nested", "sites inside a branch of a site; a site and a layer called twice", Nested),
    Model("mixed", "all kinds of sites in one model, with two outputs", Mixed),
    Model("gates", "gates, which draw or take the likeliest by the input", Gates, interfaces=("explicit", "host")),
)
MODELS: Mapping[str, Model] = {model.name: model for model in _ALL}
COLUMNS = tuple(f"{name}.{interface}" for name, model in MODELS.items() for interface in model.interfaces)


@dataclass(frozen=True)
class Column:
    """One exported file.

    Attributes:
        name: ``MODEL.INTERFACE``.
        folder: holds the file; tools write elsewhere.
    """

    name: str
    folder: Path

    @property
    def file(self) -> Path:
        """The exported file."""
        return self.folder / f"{self.name}.onnx"

    def inputs(self) -> list[dict[str, NDArray[np.float32]]]:
        """Returns what is fed to the model: float32 arrays by name, at two sizes of the dynamic axis."""
        shape = MODELS[self.name.partition(".")[0]].shape
        rng = np.random.default_rng(0)
        return [{"x": rng.standard_normal((n, *shape)).astype(np.float32)} for n in (BATCH, OTHER_BATCH)]


def export_column(name: str, folder: Path) -> Column:
    """The column's file is in the folder; returns the column.

    Raises:
        ValueError: there is no such column.
    """
    if name not in COLUMNS:
        raise ValueError(f"file: expected one of {', '.join(COLUMNS)}, got {name!r}; choose one")
    kind, _, interface = name.partition(".")
    torch.manual_seed(0)
    model = MODELS[kind].make().eval()
    _enlarge(model)
    example = torch.zeros(BATCH, *MODELS[kind].shape)
    bundle = rr.export(model, (example,), dynamic_shapes=AXES, interface=interface)
    column = Column(name, folder)
    bundle.save(column.file)
    return column


def _enlarge(model: nn.Module) -> None:
    """Weights that make every branch visible in the outputs, and normalisations that do something."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, 1.2 / fan_in**0.5, generator=generator)
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(0.0, 0.3, generator=generator)
