"""Complex numbers: inside a model they are captured, at its borders and those of its branches they are refused."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = rr.LayerChoice(nn.Linear(4, 4), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(self.layer(x)), n=4)


class Parts(Spectrum):
    def forward(self, z: Tensor, *others: Tensor) -> Tensor:
        return self.layer(z.real)


class Made(Spectrum):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"real": x, "wave": torch.complex(self.layer(x), x)}


class Turn(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z * 1j


class Between(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn = rr.LayerChoice(Turn(), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(self.turn(torch.complex(x, x)))


class InCode(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(x, x)
        if random.random() < 0.5:
            z = z * 1j
        return torch.view_as_real(z)


REAL = torch.ones(2, 4)


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        (
            Parts(),
            (REAL.to(torch.complex64),),
            r"input 'z': expected real numbers, got torch.complex64, .*view_as_real",
        ),
        (Parts(), (REAL, REAL.to(torch.complex128)), r"input 'others.0': expected real numbers, got torch.complex128"),
        (Made(), (REAL,), r"output 'wave': expected real numbers, got torch.complex64, .*; return torch.view_as_real"),
        (Between(), (REAL,), r"'turn': expected real results of every branch, got torch.complex64, .*; return"),
        (InCode(), (REAL,), r"test_complex_numbers.py:\d+.*expected real results of every branch, got torch.complex64"),
    ],
)
def test_bug_complex_numbers_at_a_border_are_refused(model: nn.Module, args: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        rr.export(model.eval(), args)


def test_complex_numbers_inside_a_model_hold() -> None:
    model = Spectrum().eval()
    assert rr.verify(rr.export(model, (REAL,)), model, (REAL,)).passed
