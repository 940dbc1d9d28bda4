"""Bad arguments get an error that names them: one test per way a call can be wrong."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import rr_export as rr
from rr_export.errors import PlanError, RunError
from tests.nets import Mlp, example, layers, pair


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": "batch"}, r"expected \{axis: name\} for 'x', got 'batch'"),
        ({"x": {"0": "batch"}}, r"axes 0..1 for 'x', got '0'"),
        ({"x": {0: "my batch"}}, r"names such as 'batch', got 'my batch'"),
    ],
)
def test_dynamic_shapes_of_wrong_form(shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rr.export(pair(Mlp()), (example(),), dynamic_shapes=shapes)


@pytest.mark.parametrize("opset", [17, 22, 0])
def test_unsupported_opset(opset: int) -> None:
    with pytest.raises(ValueError, match=r"opset from 18 to 21, got"):
        rr.export(layers(1), (example(),), opset=opset)


def test_unknown_interface() -> None:
    with pytest.raises(ValueError, match=r"explicit, host, standalone, got 'other'"):
        rr.export(layers(1), (example(),), interface="other")


def test_args_that_are_no_tuple() -> None:
    with pytest.raises(TypeError, match=r"args to be a tuple, got Tensor"):
        rr.export(layers(1), example())  # type: ignore[arg-type]


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match=r"expected arguments for forward"):
        rr.export(pair(Mlp()), (example(), example()))


def test_dynamic_shapes_of_an_unknown_argument() -> None:
    with pytest.raises(ValueError, match=r"names among \['x'\], got \['y'\]"):
        rr.export(pair(Mlp()), (example(),), dynamic_shapes={"y": {0: "batch"}})


def test_dynamic_axis_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"axes 0..1 for 'x', got 2"):
        rr.export(pair(Mlp()), (example(),), dynamic_shapes={"x": {2: "batch"}})


@pytest.mark.parametrize("path", [[1], [1, 1, 1]])
def test_forced_path_of_wrong_length(path: list[int]) -> None:
    with pytest.raises(ValueError, match=r"2"), rr.forced(layers(2), path):
        pass


def test_forced_route_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"'1'"), rr.forced(layers(2), [0, 2]):
        pass


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=r"seed"), rr.seeded(layers(2), seed):
        pass


def test_no_match() -> None:
    with pytest.raises(PlanError, match=r"expected 'encoder.\*' to match a module"):
        rr.route_layers(layers(2), "encoder.*", keep=0.5)


def test_bug_a_pattern_that_is_no_text() -> None:
    with pytest.raises(TypeError, match=r"pattern: expected a text .* got \['0', '1'\]; call it for each"):
        rr.route_layers(layers(2), ["0", "1"], keep=0.5)  # type: ignore[arg-type]


def test_match_is_a_site_already() -> None:
    with pytest.raises(PlanError, match=r"expected '0' to be a layer, got a site"):
        rr.route_layers(layers(2), "*", keep=0.5)


def test_chain_step_outside_a_run() -> None:
    site = rr.LayerChoice(Mlp(), policy=rr.Markov([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]]).step(1)).eval()
    with pytest.raises(RunError, match=r"step 1 outside any run; call rr.plan_of"):
        site(example())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rr.OperationChoice([Mlp()], rr.Uniform(2)), r"over 1 branches, got one over 2"),
        (lambda: rr.OperationChoice([], rr.Uniform(1)), r"at least one branch"),
        (lambda: rr.LayerChoice(Mlp(), 1.5), r"keep in \[0, 1\], got 1.5"),
        (lambda: rr.LayerChoice(Mlp()), r"exactly one of keep= and policy="),
        (lambda: rr.LayerChoice(Mlp(), 0.5, policy=rr.Uniform(2)), r"exactly one of keep= and policy="),
        (lambda: rr.ParameterChoice(nn.Linear(2, 2), [{}], rr.Uniform(2)), r"set 1 to fit Linear"),
    ],
)
def test_wrong_values_for_sites(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rr.OperationChoice([lambda x: x], rr.Uniform(1)), r"branch '0' to be an nn.Module, got function"),
        (
            lambda: rr.LayerChoice(Mlp(), rr.Categorical([0.5, 0.5])),
            r"keep to be a number, got Categorical; give a law as",
        ),
        (lambda: rr.LayerChoice(Mlp(), [0.5]), "LayerChoice: expected keep to be a number, got list"),
        (lambda: rr.OperationChoice([Mlp()], [1.0]), r"expected a policy.*got list"),
        (lambda: rr.LayerChoice(lambda x: x, 0.5), r"layer to be an nn.Module"),
        (lambda: rr.ParameterChoice(nn.Linear(2, 2), [nn.ReLU()], rr.Uniform(2)), r"set 1 to be a Linear, got ReLU"),
    ],
)
def test_wrong_types_for_sites(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()
