"""Segments of models whose code decides by draws and by its input: cut where sites stand alone, refused elsewhere."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import PackageError
from rr_export.parity.target_check import verify_targets
from rr_runtime import Session


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)


class DrawInCondition(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:  # noqa: SIM102
            if random.random() < 0.5:
                x = self.a(x)
        return self.b(x)


class DrawBehindEarlyReturn(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            return self.c(x)
        if random.random() < 0.5:
            x = self.a(x)
        return self.b(x)


class SiteInCondition(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = rr.LayerChoice(nn.Linear(4, 4), 0.5), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            x = self.layer(x)
        return self.last(x)


class DrawUntilCondition(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            if x.norm() < 0.1:
                break
            if random.random() < 0.5:
                x = self.a(x)
        return self.b(x)


class DrawInConditionInDraw(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:  # noqa: SIM102
            if x.mean() > 0:  # noqa: SIM102
                if random.random() < 0.5:
                    x = self.a(x)
        return self.b(x)


class ConditionInDraw(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = self.c(x)
            if x.mean() > 0:
                x = self.a(x)
        return self.b(x)


class ConditionBehindDrawnReturn(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            return self.c(x)
        if x.mean() > 0:
            x = self.a(x)
        return self.b(x)


class DrawAndCondition(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5 and x.mean() > 0:
            x = self.a(x)
        return self.b(x)


def exported(model: nn.Module) -> rr.Bundle:
    torch.manual_seed(0)
    return rr.export(model.eval(), (torch.randn(2, 4),))


@pytest.mark.parametrize("model", [DrawBehindEarlyReturn, SiteInCondition, DrawUntilCondition, DrawInConditionInDraw])
def test_bug_a_site_inside_a_condition_on_the_input_is_refused(model: type[nn.Module]) -> None:
    with pytest.raises(
        PackageError,
        match=r"site '.*': expected a site that no condition on the input stands around, got one inside If '.*"
        r"test_segments_of_code.py:\d+.*'; .* use form='routed' \(--form routed\), or frozen=N \(--frozen N\)",
    ):
        rr.package(exported(model()), "qnn")


@pytest.mark.slow
def test_bug_a_draw_inside_a_condition_is_refused_with_forms_that_hold(tmp_path: Path) -> None:
    bundle = exported(DrawInCondition())
    with pytest.raises(PackageError, match=r"got one inside If .* use form='routed' .* or frozen=N"):
        rr.package(bundle, "qnn")
    bundle = rr.package(bundle, "cpu", form="routed", name="routed")
    bundle = rr.package(bundle, "qnn", frozen=2)
    bundle.save(tmp_path / "bundle")
    for sign in (-1, 1):
        assert verify_targets(bundle, inputs={"x": np.full((2, 4), sign, np.float32)}).passed


def test_a_decision_and_a_condition_together_are_refused() -> None:
    with pytest.raises(PackageError, match="expected branches that one site decides each, got one that several"):
        rr.package(exported(DrawAndCondition()), "qnn")


@pytest.mark.parametrize("model", [ConditionInDraw, ConditionBehindDrawnReturn])
def test_bug_a_condition_on_the_input_inside_a_branch(model: type[nn.Module], tmp_path: Path) -> None:
    bundle = rr.package(exported(model()), "qnn")
    bundle = rr.package(bundle, "qnn", precision="float16", name="half")
    session = Session(bundle.save(tmp_path / "bundle"), target="qnn")
    original = Session(tmp_path / "bundle", target="default")
    rng = np.random.default_rng(0)
    for scale in (-1, 1):
        x = rng.random((2, 4), np.float32) * np.float32(scale)
        for path in ([0], [1]):
            expected, found = (s.run({"x": x}, path=path).outputs["output"] for s in (original, session))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert verify_targets(bundle, inputs={"x": x}).passed
