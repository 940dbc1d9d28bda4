"""Gradients in learned probabilities, against the exact one: the sum over all paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import rr_export as rr
from rr_export import training
from rr_export.errors import RunError
from tests.training.routed_nets import exact_gradient, flat, log_p, logits_of, loss_of, net

RUNS = 1500
FALSE_ALARM = 1e-6


def gradients(model: Any, estimator: Any, runs: int = RUNS, loss: Any = loss_of) -> Tensor:
    """float32 [runs, P]: the estimate of every run."""
    torch.manual_seed(1)
    with training.sampled(model, estimator) as sampling:
        return torch.stack([flat(model, sampling.surrogate(loss(model))) for _ in range(runs)])


def largest_z(found: Tensor, exact: Tensor) -> float:
    """The largest distance of the mean from the exact gradient, in its standard errors."""
    errors = found.std(dim=0) / len(found) ** 0.5
    return float(((found.mean(dim=0) - exact).abs() / errors.clamp_min(1e-9)).max())


def bound(count: int) -> float:
    """What a sound estimator exceeds in one of a million cases (normal law; Bonferroni over all numbers)."""
    return float(stats.norm.isf(FALSE_ALARM / (2 * count)))


@pytest.fixture(autouse=True)
def one_thread(few_threads: None) -> None:
    """Threads would only wait for each other: the numbers here are few."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Any:
    return net()


@pytest.fixture(scope="module")
def exact(model: Any) -> Tensor:
    return exact_gradient(model)


def test_the_exact_gradient_is_that_of_the_plans_probabilities(model: Any) -> None:
    plan = rr.plan_of(model)
    for path in plan.paths():
        assert log_p(model, path).exp().item() == pytest.approx(plan.probability(path), rel=1e-6)


@pytest.mark.parametrize("decay", [None, 0.0, 0.9])
def test_the_score_function_has_no_bias(model: Any, exact: Tensor, decay: float | None) -> None:
    found = gradients(model, training.ScoreFunction(decay=decay))
    found = found[0 if decay is None else 1 :]  # the first loss begins the baseline
    assert largest_z(found, exact) < bound(len(exact))
    if decay == 0.9:
        assert largest_z(found, -exact) > bound(len(exact))  # what is wrong is told
        assert largest_z(found, torch.zeros_like(exact)) > bound(len(exact)) or exact.norm() < 0.05


def test_a_baseline_makes_the_variance_smaller(model: Any) -> None:
    without, with_it = (
        gradients(model, training.ScoreFunction(decay=d), 600)[1:].var(dim=0).sum() for d in (None, 0.9)
    )
    assert with_it < without / 4


def test_the_bias_of_straight_through_falls_with_the_temperature(model: Any, exact: Tensor) -> None:
    """Of this net it is 0.51 at temperature 1 and 0.19 at 0.3 (docs/training.md); the error here is some 0.1."""
    one = gradients(model, training.StraightThrough(), 600)
    cold = gradients(model, training.StraightThrough(temperature=0.3, relaxations=8), 600)
    bias = [float((found.mean(dim=0) - exact).norm() / exact.norm()) for found in (one, cold)]
    assert 0.2 < bias[0] < 0.9 and bias[1] < bias[0] / 1.5
    assert torch.cosine_similarity(one.mean(dim=0), exact, dim=0) > 0.8
    assert torch.cosine_similarity(cold.mean(dim=0), exact, dim=0) > 0.95


@pytest.mark.slow
def test_more_relaxations_lower_the_variance_alone(model: Any) -> None:
    """Equal means within 5 standard errors of their difference; variance as Rao and Blackwell say."""
    one, many = (gradients(model, training.StraightThrough(0.3, n), 500) for n in (1, 16))
    assert many.var(dim=0).sum() < 0.6 * one.var(dim=0).sum()
    error = ((one.var(dim=0) + many.var(dim=0)) / 500).sqrt().clamp_min(1e-9)
    assert ((one.mean(dim=0) - many.mean(dim=0)).abs() / error).max() < 5


def test_straight_through_is_exact_where_the_loss_is_linear_and_cold() -> None:
    """A loss that is linear in the site's output: at a low temperature the bias goes to 0 (within 5 errors here)."""
    site = rr.OperationChoice([Scaled(1.0), Scaled(-2.0), Scaled(4.0)], rr.Learned(3, (0.2, 0.5, 0.3)))
    rr.plan_of(site)
    logits = site.law.logits
    p = torch.softmax(logits, -1)[0]
    (exact,) = torch.autograd.grad((p * torch.tensor([1.0, -2.0, 4.0])).sum(), logits)
    found = []
    torch.manual_seed(0)
    with training.sampled(site, training.StraightThrough(temperature=0.1, relaxations=64)) as sampling:
        for _ in range(800):
            found.append(torch.autograd.grad(sampling.surrogate(site(torch.ones(1)).sum()), logits)[0].flatten())
    assert largest_z(torch.stack(found), exact.flatten()) < 5


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@pytest.mark.parametrize("estimator", [training.ScoreFunction(), training.StraightThrough()])
def test_runs_in_the_block_are_those_of_the_model(estimator: Any) -> None:
    """The same path and outputs for a seed, bit for bit, also of free draws; weights have the same gradients."""
    model = net()
    for seed in range(6):
        with rr.seeded(model, seed) as plain:
            outside = loss_of(model)
        model.zero_grad()
        outside.backward()
        wanted = {n: p.grad for n, p in model.named_parameters() if not n.endswith("logits")}
        model.zero_grad()
        with training.sampled(model, estimator) as sampling, rr.seeded(model, seed) as inside:
            loss = sampling.surrogate(loss_of(model))
            loss.backward()
        assert torch.equal(loss.detach(), outside.detach())
        assert (inside.path == plain.path).all() and (sampling.record.path == plain.path).all()
        for name, parameter in model.named_parameters():
            if name in wanted:
                assert (parameter.grad is None) == (wanted[name] is None)
                assert parameter.grad is None or torch.equal(parameter.grad, wanted[name])
    with training.sampled(model, estimator):
        torch.manual_seed(5)
        inside_free = [loss_of(model).item() for _ in range(4)]
    torch.manual_seed(5)
    assert inside_free == [loss_of(model).item() for _ in range(4)]


@pytest.mark.parametrize("estimator", [training.ScoreFunction(None), training.StraightThrough()])
def test_a_forced_route_has_no_gradient(estimator: Any) -> None:
    model = net()
    names = [site.name for site in rr.plan_of(model).sites]
    path = [1 if name == "a" else -1 for name in names]
    with training.sampled(model, estimator) as sampling, rr.forced(model, path):
        total = sum(sampling.surrogate(loss_of(model)) for _ in range(8))
    found = torch.autograd.grad(total, logits_of(model), allow_unused=True)
    assert found[0] is None
    assert found[1][0].abs().sum() == 0 and found[1][1].abs().sum() > 0  # the row after route 1


def test_only_what_is_taken_is_computed_with_the_score_function() -> None:
    class Counted(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            type(self).calls += 1
            return x * 2

    site = rr.OperationChoice([nn.Identity(), Counted()], rr.Learned(2))
    x, seed = torch.ones(2, requires_grad=True), seed_with(site, 0)
    for estimator, expected in ((training.ScoreFunction(), 0), (training.StraightThrough(), 1)):
        Counted.calls = 0
        with training.sampled(site, estimator), rr.seeded(site, seed):
            site(x)
        assert Counted.calls == expected
        with training.sampled(site, estimator), rr.seeded(site, seed), torch.no_grad():
            site(x)
        assert Counted.calls == expected  # nobody wants a gradient


def seed_with(site: nn.Module, route: int) -> int:
    for seed in range(100):
        with rr.seeded(site, seed) as record, torch.no_grad():
            site(torch.ones(2, 3))
        if record.path[0] == route:
            return seed
    raise AssertionError


def test_branches_that_are_not_taken_leave_nothing_behind() -> None:
    class Untidy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop, self.calls = nn.BatchNorm1d(3), nn.Dropout(0.5), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.drop(self.norm(x.add_(1.0)))

    torch.manual_seed(0)
    site = rr.OperationChoice([nn.Dropout(0.5), Untidy()], rr.Learned(2)).train()
    seed = seed_with(site, 0)
    site.branches[1].calls = 0
    x, outputs = torch.randn(4, 3), []
    before = {name: buffer.clone() for name, buffer in site.named_buffers()}
    for block in (training.sampled(site, training.StraightThrough()), rr.recorded(site)):
        given = x.clone()
        with block, rr.seeded(site, seed):
            torch.manual_seed(3)
            outputs.append(site(given).detach())
        assert torch.equal(given, x) and site.branches[1].calls == 0
        assert all(torch.equal(buffer, before[name]) for name, buffer in site.named_buffers())
    assert torch.equal(*outputs)


def test_nested_outputs_and_skipped_layers() -> None:
    class Pair(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"y": (x * self.factor, 7), "none": None}

    site = rr.OperationChoice([Pair(2.0), Pair(3.0)], rr.Learned(2))
    with training.sampled(site, training.StraightThrough()) as sampling:
        out = site(torch.ones(2))
        assert out["y"][1] == 7 and out["none"] is None
        sampling.surrogate(out["y"][0].sum()).backward()
    assert site.law.logits.grad[0, 1] > 0 and site.law.logits.grad.sum().abs() < 1e-5  # more of 3 makes the sum larger


def test_a_site_that_is_called_twice_has_one_weight() -> None:
    site = rr.OperationChoice([Scaled(1.0), Scaled(2.0)], rr.Learned(2))
    model = nn.Sequential(site, site)
    rr.plan_of(model)
    with training.sampled(model, training.StraightThrough(relaxations=512, temperature=0.05)) as sampling:
        found = [
            torch.autograd.grad(sampling.surrogate(model(torch.ones(1)).sum()), site.law.logits)[0] for _ in range(300)
        ]
    # the slopes at route 0 are (1 + 1) * (2 - 1), at route 1 (2 + 2) * (2 - 1): on average 3 p (1 - p), as exactly
    assert torch.stack(found).mean(dim=0)[0, 1].item() == pytest.approx(3 * 0.25, abs=0.12)


def test_the_baseline_is_the_average_of_earlier_losses() -> None:
    site = rr.OperationChoice([Scaled(1.0), Scaled(3.0)], rr.Learned(2, (0.25, 0.75)))
    seeds = [seed_with(site, 0), seed_with(site, 1), seed_with(site, 1)]
    found = []
    with training.sampled(site, training.ScoreFunction(decay=0.5)) as sampling:
        for seed in seeds:
            with rr.seeded(site, seed):
                loss = sampling.surrogate(site(torch.ones(1)).sum())
            (gradient,) = (
                torch.autograd.grad(loss, site.law.logits, allow_unused=True) if loss.requires_grad else (None,)
            )
            found.append(None if gradient is None else gradient[0, 1].item())
    # d log p_1 = 1 - p_1 = 0.25 where 1 was drawn; losses 1, 3, 3; baselines 1, then 0.5 * 1 + 0.5 * 3 = 2
    assert found == [None, pytest.approx((3 - 1) * 0.25, rel=1e-5), pytest.approx((3 - 2) * 0.25, rel=1e-5)]


def test_bug_blocks_of_one_step_learn() -> None:
    torch.manual_seed(0)
    site = rr.OperationChoice([Scaled(1.0), Scaled(0.0)], rr.Learned(2))
    optimiser = torch.optim.Adam(site.parameters(), lr=0.1)
    for _ in range(80):
        with training.sampled(site) as sampling:
            optimiser.zero_grad()
            loss = sampling.surrogate((site(torch.ones(3)) ** 2).mean())
            if loss.requires_grad:
                loss.backward()
            optimiser.step()
    assert site.policy.table[0, 1] > 0.8


@pytest.mark.parametrize("bad", (float("nan"), float("inf")))
def test_bug_a_loss_that_is_no_number_leaves_the_baseline(bad: float) -> None:
    site = rr.OperationChoice([Scaled(1.0), Scaled(3.0)], rr.Learned(2))
    seed, found = seed_with(site, 1), []
    with training.sampled(site, training.ScoreFunction(decay=0.5)) as sampling, rr.seeded(site, seed):
        for factor in (1.0, bad, 2.0):
            loss = sampling.surrogate(site(torch.ones(1)).sum() * factor)
            found.append(loss.item())
            if loss.requires_grad:
                site.law.logits.grad = None
                loss.backward()
    assert found[0] == 3 and not np.isfinite(found[1]) and found[2] == 6
    assert site.law.logits.grad[0, 1].item() == pytest.approx((6 - 3) * 0.5)  # the baseline is the first loss


def test_losses_of_several_runs_count_all_their_paths() -> None:
    site = rr.OperationChoice([Scaled(1.0), Scaled(3.0)], rr.Learned(2))
    seed = seed_with(site, 1)
    with training.sampled(site, training.ScoreFunction(decay=None)) as sampling:
        with rr.seeded(site, seed):
            total = site(torch.ones(1)).sum() + site(torch.ones(1)).sum()
        sampling.surrogate(total).backward()
    assert site.law.logits.grad[0, 1].item() == pytest.approx(2 * 6 * 0.5)
    assert len(sampling.record.paths) == 2


def test_a_reward_without_a_gradient_of_its_own() -> None:
    site = rr.OperationChoice([Scaled(1.0), Scaled(3.0)], rr.Learned(2))
    seed = seed_with(site, 1)
    with training.sampled(site, training.ScoreFunction(decay=None)) as sampling, rr.seeded(site, seed):
        right = (site(torch.ones(4)) > 2).float().mean()
        sampling.surrogate(-right).backward()
    assert site.law.logits.grad[0, 1].item() == pytest.approx(-0.5)


def test_training_finds_the_better_branch() -> None:
    for estimator in (training.ScoreFunction(), training.StraightThrough()):
        torch.manual_seed(0)
        site = rr.OperationChoice([Scaled(1.0), Scaled(0.0)], rr.Learned(2))
        optimiser = torch.optim.Adam(site.parameters(), lr=0.1)
        with training.sampled(site, estimator) as sampling:
            for _ in range(80):
                optimiser.zero_grad()
                loss = sampling.surrogate((site(torch.ones(3)) ** 2).mean())
                if loss.requires_grad:
                    loss.backward()
                optimiser.step()
        assert site.policy.table[0, 1] > 0.8


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: training.ScoreFunction(decay=1.0), ValueError, r"ScoreFunction: expected a decay in \[0, 1\)"),
        (lambda: training.StraightThrough(temperature=0), ValueError, "expected a temperature above 0, got 0"),
        (lambda: training.StraightThrough(relaxations=0), ValueError, "expected one relaxation or more, got 0"),
    ],
)
def test_estimators_that_cannot_be_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_what_cannot_be_sampled_is_refused() -> None:
    site = rr.OperationChoice([Scaled(1.0), Scaled(3.0)], rr.Learned(2))
    with pytest.raises(TypeError, match=r"sampled: expected ScoreFunction\(\) or StraightThrough\(\), got 'score'"):
        training.sampled(site, "score").__enter__()
    fixed = rr.OperationChoice([Scaled(1.0), Scaled(3.0)], rr.Uniform(2))
    with pytest.raises(ValueError, match="sampled: expected a model with a learned policy or a gate that draws"):
        training.sampled(fixed).__enter__()
    with training.sampled(site) as sampling:
        with pytest.raises(RunError, match="surrogate: expected a run of the model since the last loss, got none"):
            sampling.surrogate(torch.ones(()))
        with torch.no_grad():
            site(torch.ones(1))
        with pytest.raises(RunError, match="surrogate: expected a run"):
            sampling.surrogate(torch.ones(()))
        with pytest.raises(ValueError, match=r"surrogate: expected a loss of one number, got shape \(4,\)"):
            sampling.surrogate(site(torch.ones(4)))
    uneven = rr.OperationChoice([nn.Linear(2, 2), nn.Linear(2, 3)], rr.Learned(2))
    with (
        training.sampled(uneven, training.StraightThrough()),
        pytest.raises(RunError, match="expected branches that return tensors of one nesting and shape"),
    ):
        uneven(torch.ones(1, 2))


def test_relaxed_choices_are_the_conditional_law_of_gumbel_noise() -> None:
    """The softmax of noise drawn given the route has the law of that of Gumbel noise whose argmax is the route.

    By Kolmogorov and Smirnov, two samples; false-alarm rate 1e-6 for each of two routes.
    """
    log_p, random = torch.log(torch.tensor([0.2, 0.5, 0.3])), torch.Generator().manual_seed(0)
    u = torch.rand(60_000, 3, generator=random).clamp_min(1e-12)
    perturbed = log_p - torch.log(-torch.log(u))
    drawn, soft = perturbed.argmax(dim=1), torch.softmax(perturbed, dim=1)
    assert np.abs(np.bincount(drawn, minlength=3) / len(u) - log_p.exp().numpy()).max() < 0.012
    for route in (0, 1):
        wanted = soft[drawn == route][:, 2].numpy()
        exponentials = torch.empty(4000, 1, 3).exponential_(generator=random)
        found = np.array([value_of_softmax(log_p, route, e) for e in exponentials])
        assert stats.ks_2samp(found, wanted).pvalue > 1e-6
        assert stats.ks_2samp(found, soft[:, 2].numpy()).pvalue < 1e-6  # another law is told


def value_of_softmax(log_p: Tensor, route: int, exponentials: Tensor) -> float:
    """The softmax's third number, from its gradient: d s_2 / d a_2 = s_2 (1 - s_2) at temperature 1, for s_2 < 1/2."""
    logits = log_p.clone().requires_grad_()
    weights = training.relaxed_choice(logits, route, temperature=1.0, exponentials=exponentials)
    assert weights.tolist() == [float(k == route) for k in range(3)]
    (gradient,) = torch.autograd.grad(weights[2], logits)
    return float(0.5 - (0.25 - gradient[2].clamp(max=0.25)).sqrt())
