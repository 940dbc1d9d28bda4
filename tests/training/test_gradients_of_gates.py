"""Gradients in the weights of gates, against the exact one: the sum over all paths, whose probabilities gates give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import rr_export as rr
from rr_export import training
from tests import nets

RUNS = 1500
FALSE_ALARM = 1e-6
X = torch.randn(4, nets.WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """The second gate sees what the branch of the first one gives."""
    torch.manual_seed(0)
    first = rr.OperationChoice([nets.Mlp(), nets.Mlp(-2.0)], rr.Gate(nets.PooledLogits(2), 2))
    second = rr.LayerChoice(nets.Mlp(3.0), policy=rr.Gate(nets.PooledLogits(2), 2))
    return nn.Sequential(first, second, nn.Linear(nets.WIDTH, 1))


def weights_of(model: nn.Module) -> list[Tensor]:
    return [p for name, p in model.named_parameters() if "routing_gate" in name]


def flat(model: nn.Module, loss: Tensor) -> Tensor:
    found = torch.autograd.grad(loss, weights_of(model), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def loss_of(model: nn.Module) -> Tensor:
    return (model(X) - 0.7).square().mean()


def exact_gradient(model: nn.Module) -> Tensor:
    total = torch.zeros(())
    for path in rr.plan_of(model).paths():
        with rr.forced(model, path) as record:
            loss = loss_of(model)
        steps = [torch.log_softmax(logits, 0)[path[i]] for i, logits in record.logits[-1].items()]
        total = total + torch.stack(steps).sum().exp() * loss
    return flat(model, total)


def estimates(model: nn.Module, estimator: Any) -> Tensor:
    torch.manual_seed(1)
    with training.sampled(model, estimator) as sampling:
        return torch.stack([flat(model, sampling.surrogate(loss_of(model))) for _ in range(RUNS)])[1:]


def largest_z(found: Tensor, exact: Tensor) -> float:
    errors = found.std(dim=0) / len(found) ** 0.5
    return float(((found.mean(dim=0) - exact).abs() / errors.clamp_min(1e-9)).max())


def test_the_score_function_has_no_bias(model: nn.Module, few_threads: None) -> None:
    exact = exact_gradient(model)
    found = estimates(model, training.ScoreFunction())
    bound = float(stats.norm.isf(FALSE_ALARM / (2 * len(exact))))  # normal law; Bonferroni over all numbers
    assert largest_z(found, exact) < bound
    assert largest_z(found, -exact) > bound


def test_straight_through_points_where_the_exact_gradient_does(model: nn.Module, few_threads: None) -> None:
    exact = exact_gradient(model)
    found = estimates(model, training.StraightThrough(temperature=0.3, relaxations=8)).mean(dim=0)
    assert torch.cosine_similarity(found, exact, 0) > 0.7


def test_a_gate_that_takes_the_likeliest_has_no_gradient() -> None:
    site = rr.LayerChoice(nets.Mlp(), policy=rr.Gate(nets.PooledLogits(2), 2, decision="argmax"))
    with pytest.raises(ValueError, match="a learned policy or a gate that draws"), training.sampled(site):
        pass
