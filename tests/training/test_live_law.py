"""The law as tensors: the numbers of the plan, and their derivatives."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export import training
from tests import nets
from tests.training.routed_nets import Net, log_p, logits_of, net

COSTS = {"a": (1.0, 5.0), "b": (2.0, 3.0, 0.5), "c": (0.0, 4.0), "c.layer.1": (0.0, 7.0)}


@dataclass
class Priced:
    base: float
    branches: list[tuple[float, ...]]


def priced(model: nn.Module, base: float = 10.0) -> Priced:
    return Priced(base, [COSTS[site.name] for site in rr.plan_of(model).sites])


def by_enumeration(model: Net, base: float = 10.0) -> Tensor:
    """``sum over paths of P(path) cost(path)``."""
    names = [site.name for site in rr.plan_of(model).sites]
    total = torch.zeros((), dtype=torch.float64)
    for path in rr.plan_of(model).paths():
        cost = base + sum(COSTS[name][route] for name, route in zip(names, path, strict=True) if route >= 0)
        total = total + log_p(model, path).exp() * cost
    return total


def test_the_expected_cost_and_its_gradient_are_those_of_all_paths() -> None:
    model = net(3)
    found, wanted = training.live_law(model).expected_cost(priced(model)), by_enumeration(model)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-9)
    for a, b in zip(
        torch.autograd.grad(found, logits_of(model)), torch.autograd.grad(wanted, logits_of(model)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    plain = training.live_law(model).expected_cost(priced(model).branches)
    assert plain.item() == pytest.approx(found.item() - 10.0, rel=1e-9)


def test_a_cost_by_hand() -> None:
    """One layer of cost 3 that runs with 0.2, inside one of cost 10 that runs with 0.5: 0.5 * (10 + 0.2 * 3)."""
    inner = rr.LayerChoice(nn.Linear(2, 2), policy=rr.Learned(2, (0.8, 0.2)))
    outer = rr.LayerChoice(nn.Sequential(inner), 0.5)
    law = training.live_law(outer)
    costs = [(0.0, 10.0), (0.0, 3.0)]
    assert [site.name for site in law.plan.sites] == ["root", "layer.0"]
    assert law.expected_cost(costs).item() == pytest.approx(0.5 * (10 + 0.2 * 3), rel=1e-6)
    (gradient,) = torch.autograd.grad(law.expected_cost(costs), inner.law.logits)
    assert gradient[0, 1].item() == pytest.approx(0.5 * 3 * 0.2 * 0.8, rel=1e-5)  # d p / d logit = p (1 - p)


@pytest.mark.parametrize("make", [nets.everything, lambda: net(1), lambda: nets.layers(4, 0.3)])
def test_fixed_and_learned_laws_are_those_of_the_plan(make: Any) -> None:
    model = make()
    plan = rr.plan_of(model)
    law = training.live_law(model)
    for found, wanted in zip(law.marginals(), plan.marginals(), strict=True):
        np.testing.assert_allclose(found.detach(), wanted, atol=1e-7)
    reached = [table.sum().item() for table in law.taken()]
    np.testing.assert_allclose(reached, plan.reached(), atol=1e-7)


def test_calls_of_a_trace_are_taken_from_the_plan_that_is_given() -> None:
    """The module tree has one call of each site; the forward calls the first layer only in the second's branch."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = rr.LayerChoice(nn.Linear(2, 2), 0.5)
            self.b = rr.LayerChoice(Inside(self.a), 0.25)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.b(x)
            return result

    class Inside(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = [inner]

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.inner[0](x)
            return result

    model = Model().eval()
    costs = [(0.0, 8.0), (0.0, 0.0)]
    assert training.live_law(model).expected_cost(costs).item() == pytest.approx(4)
    plan = rr.plan_of(model, (torch.ones(1, 2),))
    assert training.live_law(model, plan).expected_cost(costs).item() == pytest.approx(1)


def test_entropy_is_that_of_all_latent_routes() -> None:
    model = net(2)
    laws = training.live_law(model)
    names = [site.name for site in laws.plan.sites]
    total = 0.0
    for routes in itertools.product(*(range(len(site.branches)) for site in laws.plan.sites)):
        p = laws.plan.probability_of({i: [r] for i, r in enumerate(routes)})
        total -= p * np.log(p)
    assert laws.entropy().item() == pytest.approx(total, rel=1e-6) and len(names) == 4
    assert training.live_law(nets.layers(3, 0.5)).entropy().item() == pytest.approx(3 * np.log(2))
    assert training.live_law(nets.layers(3, 1.0)).entropy().item() == 0


def test_gradcheck() -> None:
    model = net(4).double()
    plan, costs = rr.plan_of(model), priced(model)
    names = [site.name for site in plan.sites]
    given = [model.get_submodule(name).law.logits.detach().clone().requires_grad_() for name in names]

    def cost_and_entropy(*logits: Tensor) -> tuple[Tensor, Tensor]:
        law = training.LiveLaw(plan, tuple(torch.softmax(rows, -1) for rows in logits))
        return law.expected_cost(costs), law.entropy()

    assert torch.autograd.gradcheck(cost_and_entropy, given)


def test_an_optimiser_meets_a_cost() -> None:
    model = nets.layers(3)
    for site in model:
        site.policy = rr.Learned(2)
    optimiser = torch.optim.Adam([site.law.logits for site in model], lr=0.1)
    costs = [(0.0, 1.0), (0.0, 2.0), (0.0, 3.0)]
    for _ in range(100):
        optimiser.zero_grad()
        (training.live_law(model).expected_cost(costs) - 2.0).square().backward()
        optimiser.step()
    expected = sum(site.policy.table[0, 1] * (i + 1) for i, site in enumerate(model))
    assert expected == pytest.approx(2.0, abs=0.02)


def test_costs_of_other_sites_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected_cost: expected numbers for sites of \[2, 2\] branches, got \[2\]"):
        training.live_law(nets.layers(2)).expected_cost([(0.0, 1.0)])
