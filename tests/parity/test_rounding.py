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
