"""A site hands on whatever its layer's parameters are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from tests.nets import WIDTH, example

# what functions on the way from a call to its layer call their parameters; `self` and `mod` are torch's for any module
NAMES = [
    *("index", "route", "site", "args", "kwargs", "number", "branch", "layer", "hidden", "skip", "policy", "keep"),
    *("model", "module", "root", "fn", "func", "function", "this", "cls", "owner", "instance", "name", "k"),
    *("request", "run", "given", "arguments", "capture", "opened", "output", "input", "call", "frame", "source"),
]


def _forward(names: list[str], body: str) -> Callable[..., Any]:
    space: dict[str, Any] = {}
    exec(f"def forward(self, x, {', '.join(f'{n}=None' for n in names)}):\n    return {body}", space)
    made: Callable[..., Any] = space["forward"]
    return made


class Named(nn.Module):
    """Takes every name by keyword, and weighs what comes under each differently."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(WIDTH))

    forward = _forward(NAMES, "x * self.scale + " + " + ".join(f"{1 / (i + 2)} * {n}" for i, n in enumerate(NAMES)))


class Caller(nn.Module):
    def __init__(self, *sites: nn.Module) -> None:
        super().__init__()
        self.sites = nn.ModuleList(sites)

    def forward(self, x: Tensor) -> Tensor:
        given = {name: (i + 1) * x.mean(0) for i, name in enumerate(NAMES)}
        for site in self.sites:
            x = site(x, **given)
        return x


def named_sites() -> nn.Module:
    torch.manual_seed(0)
    return Caller(
        rr.LayerChoice(Named(), 0.5),
        rr.OperationChoice([Named(), Named()], rr.Uniform(2)),
        rr.ParameterChoice(Named(), 2, rr.Uniform(2)),
    ).eval()


@pytest.mark.parametrize("route", [0, 1])
def test_bug_names_of_parameters_collide(route: int) -> None:
    model = named_sites()
    layers = [model.sites[0].layer, model.sites[1].branches[route], model.sites[2].copies[route]]
    with rr.forced(model, [route] * 3):
        got = model(example())
    expected = Caller(*layers[1 - route :])(example())
    torch.testing.assert_close(got, expected)


def test_names_of_parameters_come_through_export() -> None:
    names = ["index", "route", "site", "args", "kwargs", "model", "fn", "module", "skip"]

    class Layer(nn.Module):
        forward = _forward(names, " + ".join(["x", *names]))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sites = nn.ModuleList(
                [
                    rr.LayerChoice(Layer(), 0.5),
                    rr.OperationChoice([Layer(), Layer()], rr.Uniform(2)),
                    rr.ParameterChoice(Layer(), 2, rr.Uniform(2)),
                ]
            )

        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            for site in self.sites:
                x = site(x, **dict.fromkeys(names, index))
            return x

    model = Model().eval()
    arguments = (example(), example() + 1)
    bundle = rr.export(model, arguments)
    assert rr.verify(bundle, model, arguments).passed


@pytest.mark.parametrize("name", ["index", "route", "site", "kwargs", "model", "fn", "function", "module"])
def test_a_site_that_is_the_model_takes_any_name(name: str) -> None:
    class Layer(nn.Module):
        forward = _forward([name], f"x * {name}")

    site = rr.LayerChoice(Layer(), 0.5).eval()
    given = {name: torch.full((WIDTH,), 3.0)}
    for route, factor in enumerate((1.0, 3.0)):
        with rr.forced(site, [route]):
            torch.testing.assert_close(site(example(), **given), example() * factor)
    if name == "index":
        assert name in [v.name for v in rr.export(site, (example(),), given).model.graph.inputs]


def test_a_site_that_is_the_model_and_a_keyword_called_args() -> None:
    class Layer(nn.Module):
        forward = _forward(["args"], "x * args")

    with pytest.raises(ValueError, match=r"keywords other than 'args'.*export a module whose forward names"):
        rr.export(rr.LayerChoice(Layer(), 0.5).eval(), (example(),), {"args": torch.ones(WIDTH)})


def test_a_forward_that_calls_its_module_something_else() -> None:
    class Layer(nn.Module):
        def forward(this, x: Tensor, self: Tensor) -> Tensor:  # noqa: N805
            return x * self

    site = rr.LayerChoice(Layer(), 0.5).eval()
    x = example()
    for route, expected in enumerate((x, x * x)):
        with rr.forced(site, [route]):
            torch.testing.assert_close(site(x, x), expected)


def test_bug_a_function_made_inside_an_interpreted_one_takes_self() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            def twice(self: Tensor) -> Tensor:
                return self * 2

            return self.layer(twice(self=x)) if torch.rand(()) < 0.5 else x

    assert len(rr.export(Model().eval(), (example(),)).plan.sites) == 1
