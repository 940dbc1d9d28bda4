"""Routes of training that an export in evaluation mode leaves out are told; nothing else is."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.training_notice import training_routes_in
from rr_export.capture.request import bind
from rr_export.errors import CaptureError

X = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))


def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    if p == 0.0 or not training:
        return x
    return x * x.new_empty((x.shape[0], 1)).bernoulli_(1 - p)


class Block(nn.Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.layer, self.p = nn.Linear(4, 4), p


class LayerDrop(Block):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < self.p:
            return x
        return self.layer(x)


class DropPath(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + drop_path(self.layer(x), self.p, self.training)


class Drops(Block):
    """Draws in training, to regularise: torch's own code does."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.layer(x), self.p, self.training)


class Noisy(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + torch.randn_like(x) if self.training else x)


class Initialises(Block):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.layer(x), 0.1, self.training) + self.bias


def found(*blocks: nn.Module) -> tuple[str, ...]:
    return training_routes_in(bind(nn.Sequential(*blocks).eval(), (X,)))


def test_layer_drop_and_drop_path_are_told_by_class_and_line() -> None:
    told = found(LayerDrop(), DropPath(), LayerDrop(), nn.Dropout())
    assert [text.split(" (")[0] for text in told] == ["LayerDrop", "DropPath"]
    source = Path(__file__).read_text(encoding="utf-8").splitlines()
    for text, code in zip(told, ("if self.training and random", "return x + drop_path"), strict=True):
        file, line = text.split("(")[1].rstrip(")").split(":")
        assert file == "test_training_notice.py" and code in source[int(line) - 1]


@pytest.mark.parametrize(
    "block",
    [nn.Dropout(), Drops(), Noisy(), Initialises(), DropPath(0.0), LayerDrop(0.0)],
    ids=lambda b: type(b).__name__,
)
def test_what_has_no_routes_is_not_told(block: nn.Module) -> None:
    blocks = block, nn.Linear(4, 4)
    state = torch.get_rng_state(), random.getstate()
    assert found(*blocks) == ()
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()


def test_export_says_so_and_names_the_option() -> None:
    model = nn.Sequential(LayerDrop(), nn.Linear(4, 4)).eval()
    rr.route_layers(model, "1", keep=0.5)
    with pytest.warns(
        UserWarning, match=r"got some of LayerDrop \(test_training_notice\.py:\d+\); .*--keep-training-routes"
    ):
        assert len(rr.export(model, (X,)).plan.sites) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(rr.export(model, (X,), keep_training_routes=True).plan.sites) == 2


@pytest.mark.parametrize("block", [nn.Linear(4, 4), Drops()])
def test_a_model_without_sites_is_an_error_where_they_are_required(block: Any) -> None:
    with pytest.raises(CaptureError, match=r"got \w+ without any; route layers .*or drop require_sites"):
        rr.export(block.eval(), (X,), require_sites=True)
