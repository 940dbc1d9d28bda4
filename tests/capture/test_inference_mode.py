"""Inference mode on methods, on weights, on arguments and around the export."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.inference_mode import left_inference_mode, outside_inference_mode
from tests.conftest import rest_slow

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if random.random() < 0.5 else self.second(x)


class Forward(Net):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Block(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            hidden = self.first(x)
        return hidden if random.random() < 0.5 else self.second(hidden)


class Left(Net):
    """Leaves inference mode inside of it."""

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode(mode=False):
            return super().forward(x)


class Weights(Net):
    def __init__(self) -> None:
        super().__init__()
        with torch.inference_mode():
            self.first, self.third = nn.Linear(4, 4), nn.Linear(4, 4)
            self.third.weight = self.first.weight
            self.register_buffer("shift", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.shift if random.random() < 0.5 else self.third(x)


def proven(model: nn.Module, x: Tensor = X) -> bool:
    bundle = rr.export(model.eval(), (x,))
    return len(bundle.plan.sites) == 1 and rr.verify(bundle, model, (x,)).passed


@pytest.mark.parametrize("kind", rest_slow([Forward, Block, Left, Weights]))
def test_code_in_inference_mode_is_proven(kind: type[Net]) -> None:
    assert proven(kind())


@pytest.mark.slow
def test_export_and_arguments_in_inference_mode() -> None:
    with torch.inference_mode():
        assert proven(Net(), X.clone())


@pytest.mark.slow
def test_sites_whose_layers_use_inference_mode() -> None:
    model = nn.Sequential(Block())
    model[0].forward = torch.inference_mode()(lambda x: model[0].first(x))  # type: ignore[method-assign]
    rr.route_layers(model, "0", keep=0.5)
    assert proven(model)


def test_weights_are_the_models_own_again() -> None:
    model = Weights()
    weight, bias, shift = model.first.weight, model.first.bias, model.shift
    with left_inference_mode(model):
        assert not any(t.is_inference() for t in (*model.parameters(), *model.buffers()))
        assert model.first.weight is model.third.weight is not weight
        assert torch.equal(model.first.weight, weight)
        with torch.inference_mode():
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
    assert model.first.weight is model.third.weight is weight
    assert model.first.bias is bias
    assert model.shift is shift
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled()


def test_weights_are_the_models_own_after_an_error() -> None:
    model, enter = Weights(), torch.inference_mode.__enter__
    weight = model.first.weight
    with pytest.raises(KeyError), left_inference_mode(model):
        raise KeyError
    assert model.first.weight is weight
    assert torch.inference_mode.__enter__ is enter


def test_arguments_of_no_inference_mode_stay_the_same_objects() -> None:
    values = ([X], {"a": (X, 3)})
    assert outside_inference_mode(values) is values
    with torch.inference_mode():
        made = X * 2
    copied = outside_inference_mode((made, X))
    assert copied[1] is X
    assert not copied[0].is_inference()
    assert torch.equal(copied[0], made)
