"""Other forms of models whose own code decides, and what lint says of their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import PackageError

X = torch.ones(2, 3)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))


class UntilStop(Layers):
    """One decision is asked twice: whether to stop, and which layer."""

    def forward(self, x: Tensor) -> Tensor:
        state = int(torch.randint(0, 3, ()))
        for _ in range(2):
            x = self.layers[state](x)
            state = int(torch.randint(0, 4, ()))
            if state == 3:
                return x.sigmoid()
        return x


class Either(Layers):
    """Two decisions decide together."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.rand(()) < 0.3, torch.rand(()) < 0.4
        if first or second:
            x = self.layers[0](x)
        return self.layers[1](x) if second else x


class Gated(Layers):
    """The input and a draw decide together."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x) if x.sum() > 0 and torch.rand(()) < 0.5 else x


class GatedAfter(Layers):
    """A condition on what a drawn branch made."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.layers[0](x)
        return x * 2 if x.mean() > 0 else x


@pytest.mark.parametrize("make", [UntilStop, Either, Gated, GatedAfter])
def test_lint_finds_nothing(make: type[nn.Module], tmp_path: Path) -> None:
    path = rr.export(make().eval(), (X,)).save(tmp_path / "out")
    assert rr.lint(path) == []


@pytest.mark.parametrize(
    ("make", "target", "options"),
    [
        (UntilStop, "qnn", {}),
        (UntilStop, "cuda", {}),
        (Either, "cuda", {}),
        (Either, "cpu", {"frozen": 2}),
        (Gated, "cpu", {"frozen": 2}),
    ],
)
def test_targets_hold(make: type[nn.Module], target: str, options: dict[str, int]) -> None:
    model = make().eval()
    bundle = rr.package(rr.export(model, (X,)), target, **options)
    assert rr.verify(bundle, model, (X,)).passed


def test_frozen_decisions_of_several_sites_are_gone() -> None:
    bundle = rr.export(Either().eval(), (X,))
    for path in ((0, 0), (0, 1), (1, 0), (1, 1)):
        frozen = rr.freeze(bundle, path)
        assert {node.op_type for node in frozen.model.graph} <= {"Gemm", "Identity"}
    assert [n.op_type for n in rr.freeze(bundle, (0, 0)).model.graph].count("Gemm") == 2


def test_segments_cannot_ask_for_several_sites_at_once() -> None:
    with pytest.raises(PackageError, match="several decisions decide together"):
        rr.package(rr.export(Either().eval(), (X,)), "qnn")
