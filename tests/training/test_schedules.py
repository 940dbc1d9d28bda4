"""Laws that change with the steps of a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rr_export as rr
from rr_export import training
from rr_export.errors import PlanError
from rr_export.laws.policies import Categorical
from tests import nets


def test_linear_depth_by_hand() -> None:
    assert training.linear_depth(4, 0.5) == pytest.approx([0.875, 0.75, 0.625, 0.5])
    assert training.linear_depth(1, 0.2) == pytest.approx([0.2])


def test_annealing_by_hand() -> None:
    ends = [1.0, 1.0], [0.5, 0.0]
    assert training.annealed(*ends, 0.0) == [1.0, 1.0]
    assert training.annealed(*ends, 0.25) == pytest.approx([0.875, 0.75])
    assert training.annealed(*ends, 1.0) == training.annealed(*ends, 7.0) == [0.5, 0.0]


@pytest.mark.parametrize(("layers", "least"), [(1, 0), (1, 1), (4, 0), (4, 2), (4, 4), (6, 1)])
def test_shrinking_depth_is_uniform_over_depths(layers: int, least: int) -> None:
    model = nets.layers(layers)
    training.set_policies(model, training.shrinking_depth(layers, least))
    plan = rr.plan_of(model)
    for path in plan.paths():
        depth = sum(path)
        first = tuple(int(layer < depth) for layer in range(layers)) == path
        wanted = 1 / (layers - least + 1) if first and depth >= least else 0.0
        assert plan.probability(path) == pytest.approx(wanted, abs=1e-12)


def test_policies_are_set_and_put_back() -> None:
    model, x = nets.layers(3, 0.5), nets.example()
    own = training.set_policies(model, training.layer_policies([1.0, 1.0, 1.0]))
    with rr.recorded(model) as record:
        model(x)
    assert record.path.tolist() == [1, 1, 1]
    training.set_policies(model, {"1": Categorical((1.0, 0.0))})
    with rr.recorded(model) as record:
        model(x)
    assert record.path.tolist() == [1, 0, 1]
    training.set_policies(model, own)
    assert [site.policy.table.tolist() for site in rr.plan_of(model).sites] == [[[0.5, 0.5]]] * 3
    bundle = rr.export(model, (x,))
    assert [site.policy.table.tolist() for site in bundle.plan.sites] == [[[0.5, 0.5]]] * 3


def test_what_does_not_fit_changes_nothing() -> None:
    model = nets.layers(3, 0.5)
    chain = rr.Markov([0.5, 0.5], np.full((2, 2), 0.5))
    for policies, error, message in [
        ([Categorical((0.1, 0.9))] * 2, ValueError, "policies: expected one for each of 3 sites, got 2"),
        ({"7": Categorical((0.1, 0.9))}, ValueError, "policies: expected names of sites"),
        ([Categorical((0.1, 0.9))] * 2 + [rr.Uniform(3)], PlanError, "expected a policy over 2 branches"),
        ({"0": Categorical((0.1, 0.9)), "1": chain.step(1)}, PlanError, "expected the steps"),
    ]:
        with pytest.raises(error, match=message):
            training.set_policies(model, policies)
        assert [site.policy.table.tolist() for site in rr.plan_of(model).sites] == [[[0.5, 0.5]]] * 3


def test_learned_policies_are_not_replaced() -> None:
    model = nets.layers(2)
    model[1].policy = rr.Learned(2)
    with pytest.raises(ValueError, match="set_policies: expected sites of fixed policies, got '1'"):
        training.set_policies(model, training.layer_policies([0.1, 0.9]))
    assert rr.plan_of(model).sites[0].policy.table.tolist() == [[0.5, 0.5]]
    training.set_policies(model, {"0": Categorical((0.9, 0.1))})
    with torch.no_grad():
        model[1].law.logits[0, 1] = 1.0
    assert rr.plan_of(model).sites[0].policy.table.tolist() == [[0.9, 0.1]]


@pytest.mark.parametrize(("layers", "least"), [(0, 0), (3, 4), (3, -1)])
def test_depths_that_cannot_be_are_refused(layers: int, least: int) -> None:
    with pytest.raises(ValueError, match="shrinking_depth: expected one layer or more and a least depth of 0"):
        training.shrinking_depth(layers, least)


def test_keep_rates_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="Categorical: expected probabilities >= 0"):
        training.layer_policies([1.5])
