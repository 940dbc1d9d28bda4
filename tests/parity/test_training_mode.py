"""Nothing that training mode draws is lost without a word: what the search for routers misses, the proof finds."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.training_trials import TrainingTrials
from rr_export.capture.request import bind
from rr_export.errors import CaptureError
from rr_export.parity.eager_model import Eager
from rr_export.parity.training_mode import check_training_mode

X = torch.ones(1, 4)
LOST = r"test_training_mode\.py:\d+: expected draws that depend on the training mode of modules"


class Net(nn.Module):
    """A layer that training skips."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training and random.random() < 0.3 else self.fc(x)


class UnderGradients(Net):
    def forward(self, x: Tensor) -> Tensor:
        return x if torch.is_grad_enabled() and random.random() < 0.3 else self.fc(x)


class Scaled(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x / 0.7 if self.fc.training else x


class OwnMode(Net):
    """Keeps the mode under a name of its own."""

    mode = False

    def train(self, mode: bool = True) -> OwnMode:
        self.mode = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.mode and random.random() < 0.3 else self.fc(x)


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.fc.register_forward_hook(lambda m, args, y: args[0] if m.training and random.random() < 0.3 else y)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)  # type: ignore[no-any-return]


class Fails(Net):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("no labels")
        return self.fc(x)


def test_lost_routes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingTrials, "routers", lambda self: ())
    with pytest.warns(UserWarning, match="without any"), pytest.raises(CaptureError, match=LOST):
        rr.export(Net().eval(), (X,), keep_training_routes=True)


@pytest.mark.parametrize("kind", [OwnMode, Hooked])
def test_bug_training_mode_was_not_what_train_and_hooks_make_it(kind: type[Net]) -> None:
    model = kind().eval()
    with pytest.raises(CaptureError, match=LOST):
        check_training_mode(Eager(bind(model, (X,))), kept=(), left_out=(), rtol=1e-4, atol=1e-5)
    assert not any(m.training for m in model.modules())
    assert not getattr(model, "mode", False)


def test_draws_whose_effect_was_lost_are_found() -> None:
    class DrawsFirst(Net):
        def forward(self, x: Tensor) -> Tensor:
            number = random.random()
            return x if self.training and number < 0.3 else self.fc(x)

    with pytest.raises(CaptureError, match="got several for the same routes"):
        check_training_mode(Eager(bind(DrawsFirst().eval(), (X,))), kept=(), left_out=(), rtol=1e-4, atol=1e-5)


def test_routes_behind_gradients_are_refused() -> None:
    with pytest.warns(UserWarning, match="without any"), pytest.raises(CaptureError, match=LOST):
        rr.export(UnderGradients().eval(), (X,), keep_training_routes=True)


def test_what_else_training_computes_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="got other outputs for the same draws"):
        bundle = rr.export(Scaled().eval(), (X,), keep_training_routes=True)
    assert bundle.manifest["training_routes"] == [""]


def test_a_model_that_fails_in_training_mode_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"test_training_mode\.py:\d+: .* ValueError: no labels"):
        rr.export(Fails().eval(), (X,), keep_training_routes=True)


def test_the_proof_leaves_the_model_and_the_generators_alone() -> None:
    model = Net().eval()
    rr.plan_of(model, (X,), keep_training_routes=True)
    before = random.getstate(), torch.get_rng_state().tolist()
    check_training_mode(Eager(bind(model, (X,))), kept=("",), left_out=(), rtol=0.0, atol=0.0)
    assert (random.getstate(), torch.get_rng_state().tolist()) == before
    assert not any(module.training for module in model.modules())
