"""What is rounding, and what is not."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.eager_model import Eager
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Answer
from rr_export.parity.terms import Terms
from rr_export.parity.verify import verify_points

X = torch.full((2, 4), 0.1)


class Cancels(nn.Module):
    """Large numbers that cancel: the output has few digits."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 1e4)[:, 0] - (x * 1e4)[:, 1] + x[:, 0]


class AtItsThreshold(nn.Module):
    """As a file and the model may decide otherwise: engines sum in other orders."""

    def forward(self, x: Tensor) -> Tensor:
        k = random.choice([1, 2])
        return x * 2 if (x.mean() * k) > 0.1 else x


def answer(output: Tensor) -> Answer:
    return Answer({"output": output.numpy()}, np.empty(0, np.int64))


def test_outputs_that_the_model_itself_gives_for_rounded_inputs_are_rounding() -> None:
    eager = Eager(bind(Cancels(), (X,)))
    expected = eager.on_path(())
    output = torch.from_numpy(expected.outputs["output"])
    assert rounding(eager, expected, answer(output + 1e-3), ())()
    assert not rounding(eager, expected, answer(output + 1), ())()
    assert not rounding(eager, expected, answer(output * float("nan")), ())()
    assert not rounding(eager, expected, answer(output[:1]), ())()
    assert not rounding(eager, expected, answer(output.double()), ())()


class LooksUp(nn.Module):
    """Takes whole numbers; large weights cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 4)
        self.table.weight.data = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) * 1e4

    def forward(self, ids: Tensor) -> Tensor:
        rows = self.table(ids)
        return rows[:, 0] - rows[:, 1]


def test_bug_nothing_was_rounding_where_all_inputs_are_whole_numbers() -> None:
    model = LooksUp()
    before = model.table.weight.clone()
    eager = Eager(bind(model, (torch.tensor([1, 3]),)))
    expected = eager.on_path(())
    output = torch.from_numpy(expected.outputs["output"])
    assert rounding(eager, expected, answer(output + 1e-2), ())()
    assert not rounding(eager, expected, answer(output + 1), ())()
    assert torch.equal(before, model.table.weight)
    eager = Eager(bind(nn.Hardswish(), (torch.tensor([1, 3]).float(),)))  # real numbers in, no weights: as before
    expected = eager.on_path(())
    assert not rounding(eager, expected, answer(torch.from_numpy(expected.outputs["output"]) + 1e-2), ())()


def test_sabotage_other_draws_of_the_same_routes_are_no_rounding() -> None:
    """What differs by more than rounding because it was drawn otherwise excuses nothing."""
    eager = Eager(bind(Cancels(), (X,)))
    found = eager.on_path(())
    other = answer(torch.from_numpy(found.outputs["output"]) + 1e-3)
    assert not rounding(eager, other, found, ())()


@pytest.mark.parametrize("point", ["paths", "streams"])
def test_a_condition_at_its_threshold_tells_nothing(point: str) -> None:
    model = AtItsThreshold().eval()
    bundle = rr.export(model, (X,))
    with bundle.folder() as folder:
        checks = verify_points(bundle, folder, bind(model, (X,)), points=(point,))
    assert all(check.passed for check in checks), [check.failures for check in checks]


def test_tolerances_that_were_asked_for_are_held_to() -> None:
    assert Terms.asked(rtol=None, atol=None).with_default({"rtol": 1e-4, "atol": 1e-5}).rounds
    assert not Terms.asked(rtol=1e-6, atol=None).with_default({"rtol": 1e-4, "atol": 1e-5}).rounds
    assert not Terms(1e-6, 0.0).rounds


class HasCodes(nn.Module):
    """One column of real numbers is a code that it compares with; the others are measured."""

    def __init__(self, *, wrong: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.wrong = nn.Linear(8, 8), wrong

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.wrong * (x[:, :1] == 5)


class HasSteps(nn.Module):
    """Numbers on the steps at which it floors."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.floor(x / 16) * 16


def coded() -> Tensor:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    x[:, 0] = torch.tensor([1.0, 5.0, 2.0, 5.0])
    return x


def test_bug_what_a_model_does_at_a_code_was_taken_for_rounding() -> None:
    eager = Eager(bind(HasCodes(wrong=100.0), (coded(),)))
    expected = eager.on_path(())
    right = torch.from_numpy(expected.outputs["output"])
    found = answer(right - 100 * (coded()[:, :1] == 5))
    assert not rounding(eager, expected, found, ())()
    assert rounding(eager, expected, answer(right + 1e-7), ())(), "the measured columns are moved"

    routed = [nn.Sequential(HasCodes(wrong=w), nn.Linear(8, 8)).eval() for w in (0.0, 100.0)]
    routed[1][1].load_state_dict(routed[0][1].state_dict())
    for one in routed:
        rr.route_layers(one, "1", keep=0.5)
    bundle = rr.export(routed[0], (coded(),))
    with pytest.raises(rr.ParityError):
        rr.verify(bundle, routed[1], (coded(),))


def test_bug_what_a_model_does_at_a_step_was_taken_for_rounding() -> None:
    x = torch.randint(0, 17, (4, 8), generator=torch.Generator().manual_seed(0)).float() * 16
    eager = Eager(bind(HasSteps(), (x,)))
    expected = eager.on_path(())
    assert not rounding(eager, expected, answer(torch.from_numpy(expected.outputs["output"]) - 16), ())()


def test_a_number_that_moves_far_excuses_no_other() -> None:
    class OneFlips(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 100.0 * (x == 0.1)

    x = torch.linspace(0.11, 0.9, 40)
    x[7] = 0.1
    eager = Eager(bind(OneFlips(), (x,)))
    expected = eager.on_path(())
    right = torch.from_numpy(expected.outputs["output"])
    flipped, other = right.clone(), right.clone()
    flipped[7] -= 100
    other[8] += 1
    assert rounding(eager, expected, answer(flipped), ())()
    assert not rounding(eager, expected, answer(other), ())()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_no_number_in_place_of_one_is_no_rounding_unless_it_comes_and_goes(wrong: float) -> None:
    eager = Eager(bind(Cancels(), (X,)))
    expected = eager.on_path(())
    right = torch.from_numpy(expected.outputs["output"])
    assert not rounding(eager, expected, answer(torch.full_like(right, wrong)), ())()

    class AllNaN(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x[0, 0] == 5, torch.full_like(x, wrong), x)

    x = coded()
    x[0, 0] = 5
    eager = Eager(bind(AllNaN(), (x,)))
    assert not rounding(eager, eager.on_path(()), answer(x), ())()
