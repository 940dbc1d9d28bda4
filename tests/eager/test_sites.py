"""The three kinds of sites, and how they wrap what exists."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import PlanError, RunError
from tests import nets


class TupleLayer(nn.Module):
    """Returns as some Hugging Face layers do, and takes keywords."""

    kind_of_attention = "full"

    def __init__(self, length: int = 2) -> None:
        super().__init__()
        self.linear, self.length = nn.Linear(nets.WIDTH, nets.WIDTH), length

    def forward(self, hidden_states: Tensor, *, mask: Tensor | None = None) -> tuple[Tensor | None, ...]:
        y = self.linear(hidden_states)
        return (y if mask is None else y * mask, *[None] * (self.length - 1))


def test_operation_choice_takes_names() -> None:
    site = rr.OperationChoice({"small": nn.Identity(), "large": nets.Mlp()}, rr.Uniform(2))
    assert rr.plan_of(site).sites[0].branches == ("small", "large")
    assert rr.plan_of(site).sites[0].name == "root"


def test_parameter_choice_by_count_copies_the_parameters() -> None:
    module = nn.Linear(4, 4)
    site = rr.ParameterChoice(module, 3, rr.Uniform(3))
    assert site.copies[0] is module
    for copy in site.copies[1:]:
        assert copy.weight is not module.weight
        assert torch.equal(copy.weight, module.weight)


def test_parameter_choice_from_state_dicts() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    site = rr.ParameterChoice(first, [second.state_dict()], rr.Uniform(2)).eval()
    x = torch.randn(2, 4)
    with rr.forced(site, [1]):
        torch.testing.assert_close(site(x), second(x))


@pytest.mark.parametrize("seen_first", [True, False])
def test_skipping_a_layer_that_returns_a_tuple(seen_first: bool) -> None:
    site = rr.LayerChoice(TupleLayer(3), 0.5).eval()
    x = nets.example()
    if seen_first:
        with rr.forced(site, [1]):
            assert len(site(x)) == 3
    with rr.forced(site, [0]):
        result = site(x, mask=torch.ones(1))
    assert result[0] is x and result[1:] == (None, None)


def test_skipping_by_keyword() -> None:
    site = rr.LayerChoice(TupleLayer(1), 0.5, hidden="hidden_states").eval()
    x = nets.example()
    with rr.forced(site, [0]):
        assert site(hidden_states=x)[0] is x


def test_attributes_of_the_layer_can_be_read() -> None:
    site = rr.LayerChoice(TupleLayer(), 0.5)
    assert site.kind_of_attention == "full"
    with pytest.raises(AttributeError, match="missing"):
        _ = site.missing


def test_route_layers_wraps_every_registration(capsys: pytest.CaptureFixture[str]) -> None:
    shared = nets.Mlp()
    model = nn.ModuleDict({"blocks": nn.ModuleList([nets.Mlp(), shared, shared]), "head": nets.Mlp()})
    plan = rr.route_layers(model, "blocks.*", keep=0.8)
    assert [s.name for s in plan.sites] == ["blocks.0", "blocks.1", "blocks.2"]
    assert model["blocks"][1].layer is model["blocks"][2].layer is shared
    assert [s.policy.table.tolist() for s in plan.sites] == [[[pytest.approx(0.2), pytest.approx(0.8)]]] * 3
    assert capsys.readouterr().out.splitlines()[0] == "routed blocks.0 (Mlp)"
    assert isinstance(model["head"], nets.Mlp)


def test_route_layers_with_a_chain() -> None:
    model = nn.Sequential(nets.Mlp(), nets.Mlp(), nets.Mlp())
    plan = rr.route_layers(model, "*", policy=rr.Markov([0.2, 0.8], [[0.5, 0.5], [0.1, 0.9]]))
    assert plan.chains == ((0, 1, 2),)


def test_bug_a_failed_wrap_changes_nothing() -> None:
    model = nn.Sequential(nets.Mlp(), nets.Mlp(), nets.Mlp())
    with pytest.raises(ValueError, match=r"step of 0..1, got 2"):
        rr.route_layers(model, "*", policy=rr.Markov([0.2, 0.8], [[[0.5, 0.5], [0.1, 0.9]]]))
    assert [type(m) for m in model] == [nets.Mlp] * 3


def test_matches_inside_each_other() -> None:
    inner = nets.Mlp()
    model = nn.ModuleDict({"a": nn.Sequential(inner), "b": inner})
    with pytest.raises(PlanError, match=r"expected separate layers, got 'b' inside 'a'"):
        rr.route_layers(model, "*", keep=0.5)


def test_the_pattern_does_not_reach_into_layers() -> None:
    model = nn.Sequential(nn.Sequential(nets.Mlp(), nets.Mlp()))
    assert [s.name for s in rr.route_layers(model, "0.*", keep=0.5).sites] == ["0.0", "0.1"]


def test_plan_of_reads_nesting_off_the_tree() -> None:
    plan = rr.plan_of(nets.everything())
    assert [s.name for s in plan.sites] == ["op", "op.branches.2.0", "first", "second", "shared", "sets"]
    assert [s.kind for s in plan.sites] == ["operation", "layer", "layer", "layer", "layer", "parameter"]
    assert plan.sites[1].calls == (((0, 2),),)


def test_plan_of_a_trace_sees_the_calls() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nets.layers(1), nets.layers(1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.used(x)
            return result

    model = Unused().eval()
    assert [s.calls for s in rr.plan_of(model).sites] == [((),), ((),)]
    assert [s.calls for s in rr.plan_of(model, (nets.example(),)).sites] == [((),), ()]


def test_a_chain_with_a_missing_step() -> None:
    chain = rr.Markov([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]])
    model = nn.Sequential(
        rr.LayerChoice(nets.Mlp(), policy=chain.step(0)), rr.LayerChoice(nets.Mlp(), policy=chain.step(2))
    )
    with pytest.raises(PlanError, match="step"):
        rr.plan_of(model)


def test_a_layer_that_returns_something_else() -> None:
    class Text(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "x"

    with pytest.raises(RunError, match=r"got a str; say what a skip returns: a function of the layer's arguments"):
        rr.LayerChoice(Text(), 1.0)(nets.example())
