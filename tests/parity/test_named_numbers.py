"""Sizes that the code of a model names are tried, whatever a capture saw of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from rr_export.parity.named_numbers import numbers_named

X = torch.arange(12.0).reshape(3, 4) / 10


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.most = nn.Linear(4, 4), nn.Linear(4, 4), 77

    def forward(self, x: Tensor) -> Tensor:
        """Not a size: 55."""
        return self.a(x) if self.is_large(x) else self.b(x)

    def is_large(self, x: Tensor) -> bool:
        raise NotImplementedError


class ByText(Heads):
    def is_large(self, x: Tensor) -> bool:
        return f"{x.size(0)}x{x.size(1)}" == "64x4"


class ByType(Heads):
    def is_large(self, x: Tensor) -> bool:
        return type(x.shape[0]) is int and x.shape[0] > 100


class ByKey(Heads):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"16": nn.Linear(4, 4), "33": nn.Linear(4, 4)})

    def is_large(self, x: Tensor) -> bool:
        return str(x.shape[0]) in self.heads


def test_numbers_are_those_of_code_attributes_and_keys() -> None:
    assert set(numbers_named(ByText())) == {64, 4, 77}
    assert 100 in numbers_named(ByType())
    assert {16, 33} <= set(numbers_named(ByKey()))
    assert numbers_named(nn.Linear(64, 64)) == []


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize("model", [ByText, ByType, ByKey])
def test_bug_a_size_decided_as_a_text_or_by_its_type(model: type[Heads]) -> None:
    with pytest.raises(CaptureError, match=r"got a difference at .*decides by that size in a way that was not"):
        rr.export(model().eval(), (X,), dynamic_shapes={"x": {0: "n"}})
