"""Losses over paths, by hand and by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export import training
from tests import nets


def logits(*rows: tuple[float, ...]) -> Tensor:
    """Logits of given probabilities, moved by a constant, which changes nothing."""
    return torch.log(torch.tensor(rows, dtype=torch.float64)) + 3.0


def test_distillation_by_hand() -> None:
    teacher, student = logits((0.5, 0.5), (0.25, 0.75)), logits((0.25, 0.75), (0.25, 0.75))
    wanted = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 2  # the second row agrees
    assert training.distillation(student, teacher).item() == pytest.approx(wanted)
    # at T = 2 probabilities are the square roots, divided by their sum
    a = np.sqrt([0.25, 0.75]) / np.sqrt([0.25, 0.75]).sum()
    warm = 4 * (0.5 * math.log(0.5 / a[0]) + 0.5 * math.log(0.5 / a[1])) / 2
    assert training.distillation(student, teacher, temperature=2.0).item() == pytest.approx(warm)


def test_a_teacher_has_no_gradient() -> None:
    student, teacher = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    training.distillation(student, teacher).backward()
    assert teacher.grad is None and student.grad is not None


def test_consistency_by_hand() -> None:
    one, other = logits((0.5, 0.5)), logits((0.25, 0.75))
    wanted = 0.5 * (0.25 * math.log(2) + 0.25 * math.log(1.5))  # 0.5 sum (p - q) (log p - log q)
    assert training.consistency(one, other).item() == pytest.approx(wanted)
    assert training.consistency(other, one).item() == pytest.approx(wanted)
    kl = training.distillation(one, other) + training.distillation(other, one)
    assert training.consistency(one, other).item() == pytest.approx(kl.item() / 2)
    assert training.consistency(one, one).item() == 0


def test_balances_by_hand() -> None:
    alike = torch.full((4, 2), 0.5, dtype=torch.float64)
    assert training.importance_balance(alike).item() == 0
    one_sided = torch.tensor([[1.0, 0.0]] * 4)
    assert training.importance_balance(one_sided).item() == 1  # K - 1
    uneven = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    uneven[2] = torch.tensor([1.0, 0.0])  # sums 2 and 1: mean 1.5, variance 0.25
    assert training.importance_balance(uneven).item() == pytest.approx(0.25 / 2.25)
    assert training.load_balance(alike, torch.tensor([0, 1, 0, 1])).item() == 1
    assert training.load_balance(one_sided, torch.zeros(4, dtype=torch.int64)).item() == 2  # K
    found = training.load_balance(uneven, torch.tensor([0, 1, 0]))  # f = 2/3, 1/3; P = 2/3, 1/3
    assert found.item() == pytest.approx(2 * (4 / 9 + 1 / 9))


def test_gradcheck() -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    routes = torch.tensor([0, 2, 2])
    assert torch.autograd.gradcheck(lambda x: training.distillation(x, b, temperature=1.5), [a])
    assert torch.autograd.gradcheck(training.consistency, [a, b])
    assert torch.autograd.gradcheck(lambda x: training.importance_balance(torch.softmax(x, -1)), [a])
    assert torch.autograd.gradcheck(lambda x: training.load_balance(torch.softmax(x, -1), routes), [a])


def test_sandwich_paths_are_the_largest_the_smallest_and_random_ones() -> None:
    plan = rr.plan_of(nets.layers(4, 0.9))
    paths = training.sandwich_paths(plan, random=400, generator=np.random.default_rng(0))
    assert [path.tolist() for path in paths[:2]] == [[1] * 4, [0] * 4] and len(paths) == 402
    # Hoeffding: a sound mean of 1600 is further away than this once in a million
    assert abs(np.mean(paths[2:]) - 0.9) < math.sqrt(math.log(2e6) / (2 * 1600))
    nested = rr.LayerChoice(nn.Sequential(rr.LayerChoice(nn.Linear(2, 2), 0.5)), 0.5)
    assert [path.tolist() for path in training.sandwich_paths(rr.plan_of(nested), random=0)] == [[1, 1], [0, -1]]


def test_sandwich_paths_of_other_sites_are_given() -> None:
    plan = rr.plan_of(nets.pair(nn.Identity(), nn.Linear(nets.WIDTH, nets.WIDTH)))
    paths = training.sandwich_paths(plan, random=0, largest=[1], smallest=[0])
    assert [path.tolist() for path in paths] == [[1], [0]]
    with pytest.raises(ValueError, match="sandwich_paths: expected layers alone, got site 'site' of kind operation"):
        training.sandwich_paths(plan, largest=[1])
    with pytest.raises(ValueError, match="path: expected -1"):
        training.sandwich_paths(plan, largest=[2], smallest=[0])
    with pytest.raises(ValueError, match="expected no fewer than 0 random paths, got -1"):
        training.sandwich_paths(plan, random=-1, largest=[1], smallest=[0])


def test_the_sandwich_loss_is_the_mean_over_its_paths() -> None:
    model, x = nets.layers(3), nets.example()
    paths = [[1, 1, 1], [0, 0, 0], [1, 0, 1]]
    with torch.no_grad():
        outputs = []
        for path in paths:
            with rr.forced(model, path):
                outputs.append(model(x))
    wanted = outputs[0].square().mean() + sum(training.distillation(o, outputs[0]) for o in outputs[1:])
    found = training.sandwich_loss(model, paths, lambda: model(x), lambda output: output.square().mean())
    assert found.item() == pytest.approx(wanted.item() / 3, rel=1e-5)
    found.backward()
    assert model[1].layer.weight.grad is not None


def test_training_by_the_sandwich_rule_brings_the_paths_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(4, 4), 0.5) for _ in range(3)), nn.Linear(4, 3))
    plan, x, y = rr.plan_of(model), torch.randn(64, 4), torch.randint(3, (64,))
    optimiser, random = torch.optim.Adam(model.parameters(), lr=0.02), np.random.default_rng(0)

    def distance() -> float:
        with torch.no_grad(), rr.forced(model, [1, 1, 1]):
            full = model(x)
        with torch.no_grad(), rr.forced(model, [0, 0, 0]):
            return training.distillation(model(x), full).item()

    before = distance()
    for _ in range(60):
        optimiser.zero_grad()
        paths = training.sandwich_paths(plan, random=1, generator=random)
        loss = training.sandwich_loss(
            model, paths, lambda: model(x), lambda output: nn.functional.cross_entropy(output, y)
        )
        loss.backward()
        optimiser.step()
    assert distance() < before / 2


ROWS = torch.tensor([[0.25, 0.75], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("call", "text"),
    (
        (lambda: training.distillation(ROWS, ROWS[:, :1]), r"distillation: expected outputs of one shape"),
        (lambda: training.distillation(ROWS, ROWS, temperature=0), "distillation: expected a temperature above 0"),
        (lambda: training.consistency(ROWS, ROWS[:1]), "consistency: expected outputs of one shape"),
        (lambda: training.importance_balance(ROWS[0]), "importance_balance: expected rows of probabilities"),
        (lambda: training.importance_balance(ROWS[:0]), "importance_balance: expected rows of probabilities"),
        (lambda: training.load_balance(ROWS * 5, torch.tensor([0, 1])), "that sum to 1, got shape .* and sums of"),
        (lambda: training.load_balance(ROWS, torch.tensor([0, 1, 1])), "expected whole numbers from 0 to 1"),
        (lambda: training.load_balance(ROWS, torch.tensor([0, 2])), "expected whole numbers from 0 to 1"),
        (lambda: training.load_balance(ROWS, torch.tensor([0, -1])), "expected whole numbers from 0 to 1"),
        (lambda: training.load_balance(ROWS, torch.tensor([0.0, 1.0])), "load_balance: .* got torch.float32"),
        (lambda: training.load_balance(ROWS, None), "load_balance: .* got NoneType"),  # type: ignore[arg-type]
        (lambda: training.sandwich_loss(nn.Identity(), [], lambda: 0, lambda _: ROWS.sum()), "expected one path"),
        (lambda: training.linear_depth(4, 1.5), "linear_depth: expected one layer or more and a keep rate"),
        (lambda: training.linear_depth(0, 0.5), "linear_depth: expected one layer or more"),
        (lambda: training.linear_depth(4, float("nan")), "linear_depth: expected one layer or more"),
        (lambda: training.annealed([1.0], [0.5, 0.5], 0.5), "annealed: expected two lists of as many keep rates"),
        (lambda: training.annealed([1.5], [0.5], 0.5), "annealed: expected two lists of as many keep rates"),
        (lambda: training.annealed([1.0], [0.5], float("nan")), "annealed: expected a progress of 0 or more"),
    ),
)  # fmt: skip
def test_bug_nonsense_is_refused(call: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
