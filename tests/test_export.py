"""Whole exports of many shapes of models: every path of each equals the eager model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.terms import Terms
from rr_export.parity.verify import verify_points
from tests import nets

W = nets.WIDTH


class Tuples(nn.Module):
    """Returns a tuple of a tensor and a dict, with other dtypes among them."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.linear, self.factor = nn.Linear(W, W), factor

    def forward(self, x: Tensor, *, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y = self.linear(x) * self.factor
        return y, {"sign": y > 0, "rank": y.argsort(dim=-1), "same": x, "again": y, "mask": mask}


class TupleSite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = rr.OperationChoice([Tuples(1.0), Tuples(-2.0), Tuples(0.5)], rr.Uniform(3))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Any]]:
        y, more = self.site(x, mask=mask)
        return y + 1, {"more": more, "first": [more["same"] * 2, more["rank"]]}


class Thrice(nn.Module):
    """One layer called three times, as in ALBERT; and a site inside that layer."""

    def __init__(self) -> None:
        super().__init__()
        inner = rr.ParameterChoice(nn.Linear(W, W), 2, rr.Uniform(2))
        inner.copies[1].reset_parameters()
        self.block = rr.LayerChoice(nn.Sequential(nn.Linear(W, W), nn.ReLU(), inner), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.block(x)
        return x


class Shapes(nn.Module):
    """Reads sizes inside branches and after them."""

    class Windows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            n, t, c = x.shape
            return x.reshape(n * t, c).relu().reshape(n, t, c) + torch.arange(t)[None, :, None]

    class Means(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=1, keepdim=True).expand(x.shape[0], x.shape[1], -1) / x.shape[1]

    def __init__(self) -> None:
        super().__init__()
        self.first = rr.OperationChoice([self.Windows(), self.Means()], rr.Uniform(2))
        windows = nn.Sequential(self.Windows(), rr.LayerChoice(self.Means(), 0.5))
        self.second = rr.OperationChoice([self.Means(), windows], rr.Uniform(2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y.reshape(y.shape[0], -1, 2)


class SameSite(nn.Module):
    """One nested site object inside two branches of an outer one."""

    def __init__(self) -> None:
        super().__init__()
        inner = rr.LayerChoice(nets.Mlp(), 0.5)
        self.site = rr.OperationChoice([nn.Sequential(inner, nn.Tanh()), inner, nn.Identity()], rr.Uniform(3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.site(x)
        return result


class Constants(nn.Module):
    """Branches that ignore their input, or return a parameter."""

    class Parameter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.randn(3, W))

        def forward(self, x: Tensor) -> Tensor:
            return self.value

    class Zeros(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(3, W)

    def __init__(self) -> None:
        super().__init__()
        self.site = rr.OperationChoice([self.Parameter(), self.Zeros(), nn.Identity()], rr.Uniform(3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.site(x)
        return result


class Unused(nn.Module):
    """A site whose result nobody reads, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.never, self.used = nets.layers(1), nets.layers(1), nets.layers(1)

    def forward(self, x: Tensor) -> Tensor:
        self.idle(x)
        result: Tensor = self.used(x)
        return result


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = rr.OperationChoice([nn.Linear(W, W), nn.Identity()], rr.Uniform(2))
        self.half()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.site(x.half())
        return result.float()


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


BATCH = {"x": {0: "batch"}}
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...], Any]] = {
    "tuples": (TupleSite, (rows(3, W), rows(3, W)), {"x": {0: "batch"}, "mask": {0: "batch"}}),
    "thrice": (Thrice, (rows(3, W),), BATCH),
    "shapes": (Shapes, (rows(2, 4, W),), {"x": {0: "batch", 1: "sequence"}}),
    "same site": (SameSite, (rows(3, W),), BATCH),
    "constants": (Constants, (rows(3, W),), None),
    "unused": (Unused, (rows(3, W),), BATCH),
    "half": (Half, (rows(3, W),), None),
    "one site is the model": (lambda: rr.LayerChoice(nets.Mlp(), 0.5), (rows(3, W),), None),
}


@pytest.mark.parametrize("interface", ["explicit", "standalone"])
@pytest.mark.parametrize("name", CASES)
def test_every_path_is_the_eager_model(name: str, interface: str, tmp_path: Path) -> None:
    make, args, dynamic = CASES[name]
    torch.manual_seed(0)
    model = make().eval()
    bundle = rr.export(model, args, dynamic_shapes=dynamic, interface=interface)
    bundle.save(tmp_path / "out")
    tolerance = 2e-3 if name == "half" else 1e-5
    points = ("paths", "streams", "laziness")
    checks = verify_points(bundle, tmp_path / "out", bind(model, args), Terms(tolerance, tolerance), points=points)
    assert [c.failures for c in checks if c.passed is False] == []
    assert [c.name for c in checks] == list(points)


def test_names_of_nested_outputs() -> None:
    make, args, dynamic = CASES["tuples"]
    bundle = rr.export(make().eval(), args, dynamic_shapes=dynamic)
    names = [row["name"] for row in bundle.manifest["outputs"]]
    assert names[0] == "output.0" and "output.1.more.sign" in names and "output.1.first.1" in names


def test_reach_of_sites_called_in_several_places() -> None:
    bundle = rr.export(SameSite().eval(), (rows(3, W),))
    inner = bundle.plan.sites[1]
    assert inner.calls == (((0, 0),), ((0, 1),)) or set(inner.calls) == {((0, 0),), ((0, 1),)}
    np.testing.assert_allclose(bundle.plan.reached(), [1, 2 / 3])


def test_keyword_arguments_and_nested_inputs() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.LayerChoice(nets.Mlp(), 0.5)

        def forward(self, batch: dict[str, Tensor], *rest: Tensor, scale: Tensor) -> Tensor:
            result: Tensor = self.site(batch["a"] + batch["b"][0] + rest[0] + rest[1]) * scale
            return result

    model = Nested().eval()
    args = ({"a": rows(3, W), "b": [rows(3, W)]}, rows(3, W), rows(3, W))
    kwargs = {"scale": torch.tensor(2.0)}
    dynamic = {"batch": {"a": {0: "n"}, "b": [{0: "n"}]}, "rest": ({0: "n"}, {0: "n"}), "scale": None}
    bundle = rr.export(model, args, kwargs, dynamic_shapes=dynamic)
    rows_ = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    assert rows_ == {"batch.a": ["n", W], "batch.b.0": ["n", W], "rest.0": ["n", W], "rest.1": ["n", W], "scale": []}
    assert rr.verify(bundle, model, args, kwargs).passed


def test_the_model_is_left_as_it_was() -> None:
    model = nets.everything()
    before = {n: p.clone() for n, p in model.state_dict().items()}
    hooks = len(model._forward_pre_hooks)
    rr.export(model, (nets.example(),))
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
    assert len(model._forward_pre_hooks) == hooks + 1  # the run's own
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    assert torch.is_grad_enabled()


@st.composite
def networks(draw: st.DrawFn) -> Callable[[], nn.Module]:
    """Small random routed nets: sequences of layers and sites, nested up to twice."""
    seed = draw(st.integers(0, 2**20))

    def module(depth: int) -> Callable[[], nn.Module]:
        kind = draw(
            st.sampled_from(["linear", "tanh", "layer", "operation", "parameter", "sequence"][: 6 if depth else 2])
        )
        if kind == "linear":
            return lambda: nn.Linear(W, W)
        if kind == "tanh":
            return nn.Tanh
        if kind == "parameter":
            k = draw(st.integers(1, 3))
            return lambda: rr.ParameterChoice(nn.Linear(W, W), k, rr.Uniform(k))
        if kind == "layer":
            inner = module(depth - 1)
            keep = draw(st.sampled_from([0.0, 0.3, 1.0]))
            return lambda: rr.LayerChoice(inner(), keep)
        parts = [module(depth - 1) for _ in range(draw(st.integers(1, 3)))]
        if kind == "sequence":
            return lambda: nn.Sequential(*(p() for p in parts))
        return lambda: rr.OperationChoice([p() for p in parts], rr.Uniform(len(parts)))

    parts = [module(2) for _ in range(draw(st.integers(1, 3)))]

    def make() -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(W, W), *(p() for p in parts), rr.LayerChoice(nn.Linear(W, W), 0.5)).eval()

    return make


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(networks())
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, make: Callable[[], nn.Module]) -> None:
    model = make()
    bundle = rr.export(model, (rows(2, W),))
    folder = bundle.save(tmp_path_factory.mktemp("random") / "out")
    points = ("paths", "streams", "laziness")
    checks = verify_points(bundle, folder, bind(model, (rows(2, W),)), Terms(max_paths=40), points=points)
    assert [c.failures for c in checks if c.passed is False] == []


class ChangesItsInput(nn.Module):
    """Also where it decides."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return x.cos() if torch.rand(()) < self.p else x.sin()


def test_bug_inputs_that_a_model_writes_into_grew_from_run_to_run() -> None:
    model, x = ChangesItsInput(0.3).eval(), torch.tensor([[0.5, -1.0], [2.0, 0.25]])
    before = x.clone()
    bundle = rr.export(model, (x,))
    assert torch.equal(x, before)
    assert rr.verify(bundle, model, (x,)).passed
    assert torch.equal(x, before)
