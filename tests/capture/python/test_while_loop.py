"""``torch.while_loop`` is unrolled where the code decides too; by itself it is torch.export's."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])


class Counted(nn.Module):
    """As often as is drawn."""

    def forward(self, x: Tensor) -> Tensor:
        most = 3 if random.random() < 0.4 else 1
        _, x = torch.while_loop(lambda i, x: i < most, lambda i, x: (i + 1, x * 1.5), (torch.tensor(0), x))
        return x


class OfTheInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x * 2 if random.random() < 0.4 else x
        (x,) = torch.while_loop(lambda x: x.abs().sum() < 30, lambda x: (x * 1.5,), (x,))
        return x


class Alone(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        (x,) = torch.while_loop(lambda x: x.abs().sum() < 30, lambda x: (x * 1.5,), (x,))
        return x


def test_unrolled_next_to_a_draw() -> None:
    model = Counted().eval()
    expected = law_of_code(model, (X,))
    assert len(expected) == 2
    assert differences(expected, law_of_file(rr.export(model, (X,)), (X,))) == []


def test_turns_that_depend_on_the_input_are_refused_next_to_a_draw() -> None:
    with pytest.raises(CaptureError, match=r"test_while_loop.py:31: .*a condition of torch.while_loop.*not condition"):
        rr.export(OfTheInput().eval(), (X,))


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
def test_alone_it_turns_as_often_as_the_input_says() -> None:
    model = Alone().eval()
    bundle = rr.export(model, (X,))
    for x in (X, X * 0.1, X * 100):
        assert differences(law_of_code(model, (x,)), law_of_file(bundle, (x,))) == []
