"""Conditions on sizes of dynamic axes, and on what is made of the input in ways that are not seen at once."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.ancestry import Ancestry
from rr_export.capture.request import bind
from rr_export.errors import CaptureError
from rr_export.parity.subject import File
from rr_export.parity.verify import verify_points


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def drop(self, x: Tensor) -> Tensor:
        return torch.tanh(x) if random.random() < 0.5 else x


class OfTensor(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return -x if torch.tensor(x.shape[0]) > 5 else x


class OfRange(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return -x if torch.arange(x.size(0)).max() > 4 else x


class OfCumulation(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return -x if torch.ones(x.shape[0]).cumsum(0)[-1] > 5 else x


class NextToDraw(Net):
    """On each path a condition of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return -x if torch.tensor(x.shape[0]) > 4 + random.choice([0, 1]) else x


class OfZeros(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return -x if torch.zeros_like(x).add(1).sum() > 20 else x


class OfItem(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return -x if x.new_full((), x.shape[0]).item() > 5 else x


class OfCond(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return torch.cond(torch.tensor(x.shape[0] > 5), lambda x: -x, lambda x: x * 2, (x,))


class WithoutDraws(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if torch.tensor(x.shape[0]) > 5 else x


class FarAway(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return -x if torch.tensor(x.shape[0]) > 60 else x


X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
SIZES = {"x": {0: "n"}}


def differences(bundle: rr.Bundle, model: nn.Module, inputs: list[Tensor]) -> list[str]:
    """Where the file differs from the model, on all paths, at inputs that it takes."""
    found: list[str] = []
    with bundle.folder() as folder:
        file = File(folder, bundle)
        for x in inputs:
            for path in bundle.plan.paths():
                with rr.forced(model, list(path)), torch.no_grad():
                    expected = model(x)
                got = file.on_path({"x": x.numpy()}, path).outputs["output"]
                if not np.allclose(got, expected.numpy(), rtol=1e-4, atol=1e-5):
                    found.append(f"{list(x.shape)} {path}")
    return found


@pytest.mark.parametrize(
    "kind", [OfTensor, OfRange, OfCumulation, NextToDraw, OfZeros, OfItem, OfCond, WithoutDraws, FarAway]
)
def test_bug_a_size_in_a_tensor_was_decided_once(kind: type[Net]) -> None:
    model = kind().eval()
    bundle = rr.export(model, (X,), dynamic_shapes=SIZES)
    assert differences(bundle, model, [X[:1].repeat(n, 1) for n in (1, 4, 5, 6, 7, 20, 60, 61)]) == []


def test_verify_knows_conditions_on_sizes_in_a_process_of_its_own() -> None:
    model = OfTensor().eval()
    bundle = rr.export(model, (X,), dynamic_shapes=SIZES)
    fresh = OfTensor().eval()
    fresh.load_state_dict(model.state_dict())
    with bundle.folder() as folder:
        sites, paths, inputs = verify_points(bundle, folder, bind(fresh, (X,)), points=("sites", "paths", "inputs"))
    assert [check.passed for check in (sites, paths, inputs)] == [True, True, True]
    assert {"n=5", "n=6", "n=1", "n=0"} <= set(paths.figures["other_sizes"])


@pytest.mark.parametrize("kind", [OfTensor, OfCond, WithoutDraws, FarAway])
def test_sabotage_a_size_that_is_decided_once_does_not_come_out(
    kind: type[Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ancestry, "of", lambda self, tensor: None)
    with pytest.raises(CaptureError, match=r"the model at every size of 'n', got a difference at"):
        rr.export(kind().eval(), (X,), dynamic_shapes=SIZES)


class LawOfSize(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if torch.rand(()) < 1 / torch.tensor(x.shape[0]) else x


def test_probability_of_a_size_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"test_sizes.py:\d+: expected a probability that is the same in every run"):
        rr.export(LawOfSize().eval(), (X,), dynamic_shapes=SIZES)
    assert rr.export(LawOfSize().eval(), (X,)).plan.sites[0].policy.table[0, 0] == pytest.approx(1 / 7)


class Filled(Net):
    def forward(self, x: Tensor) -> Tensor:
        if torch.full_like(self.a.bias, x.abs().mean().item()).sum() > 8:
            x = self.a(x)
        return x


class FilledInPlace(Net):
    def forward(self, x: Tensor) -> Tensor:
        level = torch.zeros(2)
        level.fill_(x.abs().mean().item())
        return self.a(x) if level.sum() > 4 else x


class Written(Net):
    def forward(self, x: Tensor) -> Tensor:
        x, level = self.drop(x), torch.zeros(3)
        part = level[1:]
        part[0] = x.abs().mean()
        return self.a(x) if level.sum() > 0.9 else x


class Counted(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if torch.tensor((x > 2).nonzero().shape[0]) > 5 else x


@pytest.mark.parametrize("kind", [Filled, FilledInPlace, Written, Counted])
@pytest.mark.parametrize("unseen", [False, True], ids=["seen at once", "seen by the graph"])
def test_bug_conditions_on_the_input_were_frozen(
    kind: type[Net], unseen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if unseen:  # whatever the first run misses
        monkeypatch.setattr("rr_export.capture.python.known_numbers.KnownNumbers.told", lambda self, f, a, k, r: r)
    model = kind().eval()
    bundle = rr.export(model, (X,))
    assert differences(bundle, model, [X, 10 * X, X / 10, -X]) == []


def assigned(value: Tensor) -> Tensor:
    found = torch.zeros(())
    found.data = value
    return found


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": lambda x: x.to_sparse().to_dense().abs().mean() > 2,
    "another layout": lambda x: x.to_mkldnn().to_dense().abs().mean() > 2,
    "an assignment behind torch's back": lambda x: assigned(x.mean()) > 3,
}


class Refused(Net):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.condition = REFUSED[name]

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if self.condition(x) else x


@pytest.mark.parametrize("name", REFUSED)
def test_conditions_that_cannot_be_captured_are_refused(name: str) -> None:
    with pytest.raises(CaptureError):
        rr.export(Refused(name).eval(), (X,))
