"""Small routed nets, and how near another form of one comes to the routed file on every path.

The measure of a path is the root mean square of the difference as a share of the standard deviation of the float32
output; a form is right where that is within the tolerance on every path, and no other path's output is nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rr_export as rr
from rr_export.bundle.contents import TargetFiles
from rr_export.targets.sizes import fix_sizes
from rr_runtime import Session
from tests import nets

Arrays = dict[str, NDArray[Any]]
Form = tuple[Mapping[str, Any], Mapping[str, ir.Model | bytes]]
HALF = 0.01  # measured: at most 0.0024
EIGHT_BITS = 0.1  # measured: at most 0.066, where paths differ by 0.037 to 0.33 at least
SIXTEEN_BITS = 0.08  # measured: at most 0.051
NAMES = ("mlp", "conv", "attention")


class Block(nn.Module):
    """Layer norm and causal attention, whose mask is -inf."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1))
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
        weights = (q @ k.transpose(-1, -2) / 2.83 + mask).softmax(-1)
        return x + self.out((weights @ v).transpose(1, 2).flatten(-2))


class Residual(nn.Module):
    """Adds what two linear layers make of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + 2.0 * self.down(self.up(x).relu())


def _mlp() -> nn.Module:
    chain = rr.Markov([0.3, 0.7], [[0.1, 0.9], [0.8, 0.2]])
    nested = nn.Sequential(nn.Linear(16, 16), rr.LayerChoice(Residual(), 0.5))
    sets = rr.ParameterChoice(nn.Linear(16, 16), 3, rr.Categorical([0.01, 0.3, 0.69]))
    for copy in sets.copies:
        copy.reset_parameters()
    choice = rr.OperationChoice([Residual(), nested, nn.Identity()], rr.Uniform(3))
    layers = [rr.LayerChoice(Residual(), policy=chain.step(t)) for t in range(2)]
    return nn.Sequential(nn.Linear(16, 16), choice, *layers, sets, nn.Linear(16, 6))


def _attention() -> nn.Module:
    nested = nn.Sequential(nn.Linear(16, 16), nn.GELU(), rr.LayerChoice(nn.Linear(16, 16), 0.3))
    choice = rr.OperationChoice([Block(), nested, nn.Identity()], rr.Uniform(3))
    return nn.Sequential(nn.Linear(16, 16), rr.LayerChoice(Block(), 0.5), choice, nn.Linear(16, 4))


def _convolution(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, size, padding=size // 2), nn.BatchNorm2d(4), nn.ReLU())


def _conv() -> nn.Module:
    choice = rr.OperationChoice([_convolution(1), _convolution(3), nn.MaxPool2d(3, 1, 1)], rr.Uniform(3))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), choice, rr.LayerChoice(_convolution(3), 0.9), *head)


@dataclass(frozen=True)
class Case:
    """A routed bundle with fixed sizes, inputs to calibrate with and others to compare on."""

    bundle: rr.Bundle
    calibration: Sequence[Arrays]
    inputs: Arrays

    @property
    def paths(self) -> list[tuple[int, ...]]:
        return [tuple(path) for path in self.bundle.plan.paths()]

    @property
    def feeds(self) -> list[tuple[Arrays, tuple[int, ...]]]:
        return [(inputs, path) for inputs in self.calibration for path in self.paths]

    def model(self) -> ir.Model:
        """Returns a fresh copy of the model in fixed sizes."""
        model = self.bundle.model.clone()
        fix_sizes(model, {"batch": len(next(iter(self.inputs.values())))})
        return model


@cache
def case(name: str) -> Case:
    torch.manual_seed(0)
    model, shape = {
        "everything": (nets.everything, (16, nets.WIDTH)),
        "mlp": (_mlp, (16, 16)),
        "conv": (_conv, (4, 3, 8, 8)),
        "attention": (_attention, (4, 5, 16)),
    }[name]
    bundle = rr.export(model().eval(), (torch.randn(shape),))
    rng = np.random.default_rng(0)
    key = bundle.manifest["inputs"][0]["name"]
    made = [{key: rng.standard_normal(shape).astype(np.float32)} for _ in range(5)]
    return Case(bundle, made[:4], made[4])


def open_form(of: Case, form: Form, folder: Path) -> tuple[Session, Session]:
    """Returns sessions on the routed default file and on the form."""
    about, models = form
    about = {"provider": "cpu", "precision": "qdq", "rtol": 1e-4, "atol": 1e-5, **about}
    bundle = replace(of.bundle, targets={"form": TargetFiles(about, models)}, path=None)
    bundle.save(folder / "bundle")
    return Session(folder / "bundle", target="default"), Session(folder / "bundle", target="form")


def worst_share(of: Case, form: Form, folder: Path) -> float:
    """Returns the largest share over all paths and outputs; fails where another path is nearer, or was taken."""
    routed, other = open_form(of, form, folder)
    results = [routed.run(of.inputs, path=path).outputs for path in of.paths]
    expected = {name: np.stack([r[name] for r in results]) for name in results[0] if results[0][name].size > 1}
    worst = 0.0
    for own, path in enumerate(of.paths):
        result = other.run(of.inputs, path=path)
        assert tuple(result.path.tolist()) == path
        assert [(n, a.dtype) for n, a in result.outputs.items()] == [(n, a.dtype) for n, a in results[own].items()]
        shares = np.max([_shares(result.outputs[name], rows) for name, rows in expected.items()], axis=0)
        nearest = int(np.argmin(shares))
        assert nearest == own, f"{path}: nearer to {of.paths[nearest]}"
        worst = max(worst, float(shares[own]))
    return worst


def _shares(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    """Returns for every path how far the output is from the one of that path."""
    axes = tuple(range(1, wanted.ndim))
    shares = np.sqrt(np.mean((wanted - found) ** 2, axis=axes)) / wanted.std(axis=axes)
    return np.where(np.isfinite(shares), shares, np.inf)
