"""What some branches leave as None, and others as tensors in a structure: a state that is not there yet."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Parts(nn.Module):
    """The parts that the models share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.cell = nn.Linear(4, 4), nn.LSTMCell(4, 4)


class Cell(Parts):
    """A recurrent state, None before the first step."""

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for _ in range(2):
            if random.random() < 0.4:
                continue
            state = self.cell(x, state)
        if state is None:
            return x
        h, c = state
        return torch.cat([h, c])[: len(x)] + c


@dataclasses.dataclass
class Held:
    h: Tensor
    n: int = 0


class Fields(Parts):
    def forward(self, x: Tensor) -> Tensor:
        held = None
        for i in range(3):
            if random.random() < 0.4:
                continue
            x = self.a(x)
            held = Held(x, i) if held is None else Held(held.h * 2 + x, held.n + i)
        return x if held is None else x + held.h * held.n


class Entries(Parts):
    def forward(self, x: Tensor) -> Tensor:
        held = None
        if random.random() < 0.4:
            held = {"h": self.a(x)}
        same = held
        if held and random.random() < 0.3:
            held["h"] = x * 3
        return x if same is None else x + same["h"]


class Chosen(Parts):
    def forward(self, x: Tensor) -> Tensor:
        number, held = random.random(), None
        if number < 0.4:
            held = (self.a(x), 1)
        elif number < 0.7:
            held = (x * 2, 5)
        return x + held[0] * held[1] if held else x


@pytest.mark.parametrize("case", [Cell, Fields, Entries, Chosen])
def test_file_has_the_law_of_the_code(case: type[Parts]) -> None:
    model = case().eval()
    law = law_of_code(model, (X,))
    assert len(law) > 1
    assert differences(law, law_of_file(rr.export(model, (X,)), (X,))) == []


def test_bug_zeros_that_stand_for_none_were_wasted_work() -> None:
    model = Cell().eval()
    assert rr.verify(rr.export(model, (X,)), model, (X,)).passed


class NotThere(Parts):
    def forward(self, x: Tensor) -> Tensor:
        held = None
        if random.random() < 0.4:
            held = (self.a(x),)
        return x + held[0]  # type: ignore[index]


def test_reading_none_is_refused_by_line() -> None:
    with pytest.raises(CaptureError, match=r"test_optional.py:\d+: expected every branch to compute, got a TypeError"):
        rr.export(NotThere().eval(), (X,))
