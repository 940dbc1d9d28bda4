"""Programs that go to ONNX as they were traced: those of which torch would make just the same file."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture import kept_tables
from rr_export.capture.undecomposed import is_decomposed
from tests import nets


class Code(nn.Module):
    """Draws, a condition on the input, and a value that only one of two routes uses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(nets.WIDTH, nets.WIDTH), nn.Linear(nets.WIDTH, nets.WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.3:
            x = self.a(x).reshape(-1)
        else:
            x = self.b(x)
            x = x.reshape(shape=(x.shape[0] * x.shape[1],))
        return x * 2 if x.mean() > 0 else x


class Casts(nn.Module):
    """Casts that change something, one that does not, and a constant."""

    def forward(self, x: Tensor) -> Tensor:
        y = (x.float() > 0).to(torch.float64) + torch.tensor([1.5], dtype=torch.float64)
        return y if random.random() < 0.3 else y.to(torch.float32).double() * 2


class Plain(nn.Module):
    """What a function makes of the input."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize("make", [nets.everything, Code, Casts])
def test_the_file_is_that_of_a_program_decomposed(make: Callable[[], nn.Module], monkeypatch: Any) -> None:
    made, answers = [], []
    for as_it_is in (True, False):

        def decomposed(*args: Any, as_it_is: bool = as_it_is) -> bool:
            answers.append(is_decomposed(*args))
            return answers[-1] and as_it_is

        monkeypatch.setattr(kept_tables, "is_decomposed", decomposed)
        made.append(str(rr.export(make().eval(), (nets.example(),)).model))
    assert answers == [True, True]
    assert _numbered(made[0]) == _numbered(made[1])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.t().reshape(-1),
        lambda x: x[:, 1:].reshape(-1),
        lambda x: (x + 1).add_(1),
        lambda x: x.to("cpu", torch.float64),
        lambda x: x.float(),
        lambda x: torch.special.xlog1py(x, x),
        lambda x: x.view_as(x),
        lambda x: (x, x + 1),
    ],
    ids=[
        "transposed",
        "cut",
        "in place",
        "to a device",
        "to the same",
        "without a translation",
        "composite alias",
        "an input handed on",
    ],
)
def test_what_would_be_traced_otherwise_is_decomposed(function: Callable[[Tensor], Any], monkeypatch: Any) -> None:
    answers = []
    monkeypatch.setattr(kept_tables, "is_decomposed", lambda *a: answers.append(is_decomposed(*a)) or answers[-1])
    with pytest.warns(UserWarning, match="without any"):
        rr.export(Plain(function).eval(), (nets.example(),))
    assert answers == [False]


def test_reshape_takes_empty_tensors(tmp_path: Any) -> None:
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(Plain(lambda x: x.reshape(0, 4) * 2).eval(), (torch.ones(2, 0),))
    session = onnxruntime.InferenceSession(ir.to_proto(bundle.model).SerializeToString())
    assert session.run(None, {"x": np.ones((2, 0), np.float32)})[0].shape == (0, 4)


def _numbered(text: str) -> str:
    """A printed model whose names are numbers, in the order in which they come."""
    names: dict[str, str] = {}
    return re.sub(
        r'"[^"]*"|(?<=name=)\'\w+\'|node_\w+', lambda name: names.setdefault(name.group(), str(len(names))), text
    )
