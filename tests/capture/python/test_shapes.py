"""Shapes that differ by what is decided, until they agree again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python import diagram as dd
from rr_export.capture.python import lifting, shapes
from rr_export.capture.python.values import Later, Varying
from rr_export.errors import CaptureError, ParityError
from rr_export.parity.loading import check_loads
from rr_runtime import Session
from tests.capture.python.setting import Setting
from tests.conftest import nodes_named


def either(setting: Setting, first: Any, second: Any) -> Varying:
    return Varying(dd.apply(lambda k: (first, second)[k], setting.coin()))


def test_only_tensors_of_branches_are_apart() -> None:
    setting, tensor = Setting(), torch.ones(2)
    assert shapes.is_apart(either(setting, tensor, torch.ones(3)))
    assert shapes.is_apart(either(setting, tensor, Later(lambda: torch.ones(3))))
    others = (1, tensor, either(setting, 1, 2), either(setting, tensor, None))
    later = either(setting, Later(lambda: tensor), Later(lambda: tensor))
    assert not any(map(shapes.is_apart, (*others, later)))


def test_tensors_of_one_shape_are_numbered_alike() -> None:
    setting = Setting()
    tensors = [torch.ones(2), torch.ones(2, 1), torch.zeros(2), torch.ones(3)]
    which = dd.apply(lambda a, b: tensors[2 * a + b], setting.coin(), setting.coin())
    assert [leaf.value for _, leaf in dd.paths(shapes.by_shape(which))] == [0, 1, 0, 2]


def test_form_is_one_value_where_all_shapes_agree_on_it() -> None:
    setting = Setting()
    value = either(setting, torch.ones(2, 4), torch.zeros(2, 8))
    with setting.tracing():
        assert shapes.form(value, lambda t: t.dtype) == torch.float32
        assert shapes.form(value, lambda t: t.size(0)) == 2
        assert dd.leaves(shapes.form(value, lambda t: t.shape).diagram) == [(2, 4), (2, 8)]
    assert shapes.tells_form("size", (0,))
    assert not shapes.tells_form("mean") and not shapes.tells_form("size", (value,))


class Resized(nn.Module):
    """A random size, then convolutions, then a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.4:
            x = F.interpolate(x, scale_factor=2.0)
        x = F.relu(self.conv(x))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        result: Tensor = self.head(x)
        return result


class Slimmable(nn.Module):
    """A random width: the first rows, then the first columns, of two weights."""

    def __init__(self, features: int = 16) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(32, features))
        self.w2 = nn.Parameter(torch.randn(10, 32))

    def forward(self, x: Tensor) -> Tensor:
        width = random.choice([8, 16, 32])
        h = F.relu(F.linear(x, self.w[:width]))
        return F.linear(h, self.w2[:, :width])


class OnceForAll(nn.Module):
    """Blocks whose width and kernel are drawn, each back at one shape."""

    def __init__(self, blocks: int = 1) -> None:
        super().__init__()
        self.grow = nn.ParameterList(torch.randn(12, 4, 1, 1) * 0.3 for _ in range(blocks))
        self.depth = nn.ParameterList(torch.randn(12, 1, 5, 5) * 0.3 for _ in range(blocks))
        self.shrink = nn.ParameterList(torch.randn(4, 12, 1, 1) * 0.3 for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for grow, depth, shrink in zip(self.grow, self.depth, self.shrink, strict=True):
            width, k = random.choice([4, 8, 12]), random.randrange(2)
            h = F.relu(F.conv2d(x, grow[:width]))
            h = F.conv2d(h, depth[:width, :, k : 5 - k, k : 5 - k], padding=2 - k, groups=width)
            x = x + F.conv2d(F.relu(h), shrink[:, :width])
        return x.mean((2, 3))


class StyleMixed(nn.Module):
    """Which layers follow the first style, and which the second one, is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Linear(8, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.mapping(x), self.mapping(-x)
        cross = random.randint(1, 2)
        styles = torch.cat([first.unsqueeze(1).repeat(1, cross, 1), second.unsqueeze(1).repeat(1, 3 - cross, 1)], 1)
        for i, layer in enumerate(self.layers):
            x = torch.tanh(layer(x) + styles[:, i])
        return x


class Chain(nn.Module):
    """Two sizes in a row, with a layer between that may be skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = F.interpolate(x, scale_factor=2.0)
        if random.random() < 0.3:
            x = x + self.conv(x)
        if random.random() < 0.5:
            x = F.avg_pool2d(x, 2)
        return self.last(x).mean((2, 3))


class Gated(nn.Module):
    """The input decides its size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            x = F.avg_pool2d(x, 2)
        return self.conv(x).mean((2, 3))


class Asked(nn.Module):
    """Code that asks for the shape, in a helper, a loop and conditions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def sized(self, x: Tensor) -> dict[str, Tensor]:
        size = random.choice([4, 6, 8])
        return {"x": F.interpolate(x, size=(size, size))}

    def forward(self, x: Tensor) -> Tensor:
        x = self.sized(x)["x"]
        while x.shape[-1] > 6:
            x = F.avg_pool2d(x, 2)
        b, c, h, w = x.shape
        x = self.conv(x).reshape(b, c, h * w)
        if x.size(2) == 16:
            x = -x
        return x.mean(-1)


class Again(nn.Module):
    """A value of one shape is made of what goes on in several."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = F.avg_pool2d(x, 2)
        h = self.conv(x)
        scale = torch.sigmoid(self.gate(h.mean((2, 3))))
        return (h * scale[:, :, None, None]).mean((2, 3))


class InPlace(nn.Module):
    """Layers that change in place what was made in a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = F.avg_pool2d(x, 2)
        x = self.conv(x)
        y = x
        return self.relu(x).mean((2, 3)) + y.mean((2, 3))


class OfSites(nn.Module):
    """A site whose branches return tensors of different shapes, another site after it."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = rr.OperationChoice({str(w): nn.Linear(6, w) for w in (4, 8, 12)}, rr.Categorical([0.5, 0.3, 0.2]))
        self.act = rr.LayerChoice(nn.Tanh(), keep=0.5)
        self.w = nn.Parameter(torch.randn(5, 12))

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.expand(x))
        return F.linear(h, self.w[:, : h.shape[-1]])


class Crops(nn.Module):
    """The kernel is whole, cropped, or cropped and changed."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 3, 5, 5) * 0.2)
        self.change = nn.Parameter(torch.eye(9) + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        k = random.choice([1, 3, 5])
        w = self.w
        if k < 5:
            w = w[:, :, 2 - k // 2 : 3 + k // 2, 2 - k // 2 : 3 + k // 2]
            if k == 3:
                w = (w.reshape(4, 3, 9) @ self.change).reshape(4, 3, 3, 3)
        return F.conv2d(x, w, padding=k // 2).mean((2, 3))


class Parameters(nn.Module):
    """Sets of parameters of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = rr.ParameterChoice(nn.Linear(6, 4), [nn.Linear(6, 8)], rr.Uniform(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).sum(1)


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if random.random() < 0.5 else x


def in_sequence() -> nn.Module:
    size = rr.OperationChoice({"full": nn.Identity(), "half": nn.AvgPool2d(2)}, rr.Uniform(2))
    return nn.Sequential(size, nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), Half(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], int]] = {
    "resized": (Resized, images, 2),
    "slimmable": (Slimmable, lambda: torch.randn(2, 16), 3),
    "once for all": (lambda: OnceForAll(2), lambda: torch.randn(2, 4, 8, 8), 36),
    "styles": (StyleMixed, lambda: torch.randn(2, 8), 2),
    "chain": (Chain, images, 8),
    "gate": (Gated, images, 1),
    "asked": (Asked, images, 3),
    "again": (Again, images, 2),
    "in place": (InPlace, images, 2),
    "sites": (OfSites, lambda: torch.randn(2, 6), 6),
    "crops": (Crops, images, 3),
    "parameters": (Parameters, lambda: torch.randn(2, 6), 2),
    "sequence": (in_sequence, images, 4),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    make, example, _ = MODELS[name]
    torch.manual_seed(0)
    return make().eval(), example()


def compare_all(model: nn.Module, x: Tensor, bundle: rr.Bundle, folder: Path) -> int:
    """Compares the file with the code as it was written, on every path, at another batch too; returns their number."""
    bundle.save(folder)
    session, paths = Session(folder), [list(path) for path in bundle.plan.paths()]
    name = bundle.manifest["inputs"][0]["name"]
    output = bundle.manifest["outputs"][0]["name"]
    for path in paths:
        for given in (x, -x, torch.cat([x, 2 * x])):
            got = session.run({name: given.numpy()}, path=path or None).outputs[output]
            with torch.no_grad(), rr.forced(model, path):
                expected = model(given).numpy()
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    return len(paths)


QUICK = ("sites",)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def test_file_is_the_code_on_every_path(name: str, tmp_path: Path) -> None:
    model, x = made(name)
    parameter = "input" if name == "sequence" else "x"
    bundle = rr.export(model, (x,), dynamic_shapes={parameter: {0: "batch"}})
    count = compare_all(model, x, bundle, tmp_path / "bundle")
    assert count == MODELS[name][2]


def test_slices_of_a_weight_are_no_copies(tmp_path: Path) -> None:
    model = Slimmable(200).eval()  # larger weights are not folded, whatever they are
    bundle = rr.export(model, (torch.randn(1, 200),))
    bundle.save(tmp_path / "bundle")
    stored = sum(parameter.numel() * 4 for parameter in model.parameters())
    assert (tmp_path / "bundle" / "model.onnx").stat().st_size < stored + 12_000
    assert not {"Gemm", "Slice"} & {node.op_type for node in bundle.model.graph}
    assert len(nodes_named(bundle.model, "Slice")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["once for all", "chain", "sites", "gate"])
def test_files_are_proven(name: str) -> None:
    model, x = made(name)
    assert rr.verify(rr.export(model, (x,)), model, (x,)).passed


@pytest.mark.slow
def test_every_form_is_proven() -> None:
    model, x = made("sites")
    bundle = rr.package(rr.export(model, (x,), target=["cuda", "qnn"]), "cpu", frozen=2)
    assert rr.verify(bundle, model, (x,)).passed


@pytest.mark.slow
def test_sabotage_of_what_follows_in_one_branch_is_rejected() -> None:
    model, x = made("resized")
    bundle = rr.export(model, (x,))
    first, second = nodes_named(bundle.model, "Relu")
    assert first.graph is not second.graph
    first.op_type = "Neg"
    check_loads(bundle.model)
    with pytest.raises(ParityError, match="paths"):
        rr.verify(bundle, model, (x,))


def test_draws_that_follow_stay_one_site_each() -> None:
    model, x = made("chain")
    plan = rr.plan_of(model, (x,))
    assert [len(site.calls) for site in plan.sites] == [1, 1, 1]
    assert [site.policy.table[0].tolist() for site in plan.sites] == [[0.5, 0.5], [0.3, 0.7], [0.5, 0.5]]


class Returned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = x[:, :2]
        return x * 2


class Many(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(random.randint(1, 65), 1).mean(0)


class Long(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x[:, : random.randint(1, 8)]
        for _ in range(6):
            x = -x
        return x.sum(1)


class InputChanged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = x[:, :2]
        return F.relu(x, inplace=True).sum(1)


class OneBranchChanges(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x[:, : random.choice([2, 4])].sin()
        y = x
        if random.random() < 0.5:
            y = F.relu(x, inplace=True)
        return x.sum(1) + y.sum(1)


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = rr.OperationChoice([nn.Linear(8, 4), nn.Linear(8, 6)], rr.Uniform(2))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.site(x))
        return result


class OtherType(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = x[:, :2].double()
        return x.sum(1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Returned(),
            r"test_shapes.py:\d+: expected outputs .* one shape .*, got \[2, 2\] and \[2, 8\]; make",
        ),
        (
            Many(),
            r"test_shapes.py:\d+: expected .* at most 64 values, got one among 65; decide among fewer",
        ),
        (InputChanged(), r"test_shapes.py:\d+: expected branches that change nothing in place, got one that changes x"),
        (OneBranchChanges(), r"test_shapes.py:\d+: expected branches that change nothing in place, got one that"),
        (Fails(), r"test_shapes.py:\d+: expected what follows to take every shape .* for \[2, 6\]; let one decision"),
        (OtherType(), r"test_shapes.py:\d+: expected one dtype of 'x' after the branches of test_shapes.py:\d+"),
        (nn.Sequential(Returned()), r"test_shapes.py:\d+: expected outputs of the model that have one shape"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        rr.export(model.eval(), (torch.randn(2, 8),))


def test_too_much_that_follows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    example = (torch.randn(2, 8),)
    monkeypatch.setattr(lifting, "MOST_COPIES", 56)  # 8 shapes, 7 steps
    assert len(rr.plan_of(Long().eval(), example).sites) == 1
    monkeypatch.setattr(lifting, "MOST_COPIES", 55)
    with pytest.raises(CaptureError, match=r"test_shapes.py:\d+: expected shapes that agree again before 55 steps"):
        rr.plan_of(Long().eval(), example)


def test_site_whose_results_leave_the_model_in_several_shapes_is_refused() -> None:
    site = rr.OperationChoice([nn.Identity(), nn.AvgPool1d(2)], rr.Uniform(2))
    with pytest.raises(CaptureError, match=r"0:0: expected outputs .*, got \[2, 8\] and \[2, 4\]"):
        rr.export(nn.Sequential(site).eval(), (torch.randn(2, 8),))


def test_opened_file_has_one_if_for_all_that_follows() -> None:
    model, x = made("resized")
    bundle = rr.export(model, (x,))
    (choice,) = nodes_named(bundle.model, "If")
    bodies = [[n.op_type for n in a.as_graph()] for a in choice.attributes.values() if a.type == ir.AttributeType.GRAPH]
    assert all({"Conv", "Relu"} <= set(body) for body in bodies)
