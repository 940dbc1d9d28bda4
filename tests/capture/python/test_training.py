"""Routes of training are kept, and nothing else of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.training_mode_routes import routed_in_training
from rr_export.capture.python.training_trials import TrainingTrials
from rr_export.capture.request import bind

X = torch.ones(2, 4)


class Encoder(nn.Module):
    """Layer drop beside two kinds of dropout, a batch norm, and attention with dropout."""

    def __init__(self, rate: float = 0.4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rate = rate
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(2)
        )

    def block(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x, 0.5, self.training)
        for layer in self.layers:
            if self.training and torch.rand(()) < self.rate:
                continue
            x = layer(x)
        p = 0.5 if self.training else 0.0
        return x + F.scaled_dot_product_attention(*[x[None, None]] * 3, dropout_p=p)[0, 0]


class Masked(nn.Module):
    """Noise of training around an encoder with layer drop."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + torch.rand_like(x)
        return self.encoder(x)


def encoder() -> tuple[nn.Module, tuple[Tensor]]:
    return Encoder().eval(), (X,)


def test_routes_stay_and_dropout_goes() -> None:
    model, args = encoder()
    assert TrainingTrials(bind(model, args)).routers() == ("",)
    bundle = rr.export(model, args, keep_training_routes=True)
    assert bundle.plan.path_count() == 4
    assert bundle.manifest["training_routes"] == [""]
    assert rr.verify(bundle, model, args).passed
    with rr.forced(model, [1, 1]):
        assert torch.equal(model(X), model(X))
        kept = model(X)
    assert torch.equal(kept, model(X))  # both layers, as in evaluation mode
    assert model.training is False


def test_without_the_option_there_is_nothing_to_decide() -> None:
    model, args = encoder()
    with pytest.warns(UserWarning) as told:
        assert rr.export(model, args).plan.path_count() == 1
    of_sites, of_training = sorted((str(warning.message) for warning in told), key=lambda text: "training" in text)
    assert "expected a model with sites" in of_sites and "expected no routes of training alone" in of_training


def test_a_module_with_noise_stays_as_it_is() -> None:
    model = Masked().eval()
    assert TrainingTrials(bind(model, (X,))).routers() == ("", "encoder")
    with pytest.warns(UserWarning, match=r"export: test_training\.py:\d+.*'the model itself' would do in training"):
        bundle = rr.export(model, (X,), keep_training_routes=True)
    assert bundle.manifest["training_routes"] == ["encoder"]
    assert rr.verify(bundle, model, (X,)).passed


def test_dropout_that_is_asked_for_outright_is_refused() -> None:
    class Always(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x), 0.5, True)

    for keep in (False, True):
        with pytest.raises(rr.RRExportError, match=r"test_training\.py:\d+.*dropout"):
            rr.export(Always().eval(), (X,), keep_training_routes=keep)


def test_bug_attention_with_dropout_in_evaluation_mode_was_switched_off() -> None:
    class Always(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            x = super().forward(x)[None, None]
            return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)[0, 0]

    with pytest.raises(rr.RRExportError, match=r"test_training\.py:\d+.*dropout in attention"):
        rr.export(Always().eval(), (X,), keep_training_routes=True)


def test_bug_a_gate_behind_dropout_that_is_off_was_refused() -> None:
    class Gated(Encoder):
        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(self.layers[0](x), 0.5, self.training)
            return x + 1 if x.mean() > 0 and torch.rand(()) < 0.5 else x

    assert rr.export(Gated().eval(), (X,)).plan.path_count() == 2


def test_flags_are_put_back_after_errors() -> None:
    model, _ = encoder()
    with pytest.raises(ZeroDivisionError), routed_in_training(model, [""]):
        assert model.training is True
        raise ZeroDivisionError
    assert model.training is False


def test_plan_wants_arguments() -> None:
    with pytest.raises(ValueError, match="expected args with keep_training_routes"):
        rr.plan_of(encoder()[0], keep_training_routes=True)
    assert len(rr.plan_of(encoder()[0], (X,), keep_training_routes=True).sites) == 2


@pytest.mark.slow
def test_a_saved_bundle_is_proven_in_another_process(tmp_path: Path) -> None:
    where = [sys.executable, "-m", "rr_export"]
    options = {"check": True, "cwd": Path(__file__).parents[2], "capture_output": True, "text": True}
    name = "tests.capture.python.test_training:encoder"
    made = subprocess.run([*where, "export", name, tmp_path / "out", "--keep-training-routes"], **options)  # type: ignore[call-overload]
    assert "2 sites, 4 paths" in " ".join(made.stdout.split())
    proven = subprocess.run([*where, "verify", tmp_path / "out", name], **options)  # type: ignore[call-overload]
    assert "4 of 4 paths" in " ".join(proven.stdout.split())
