"""Another torch than the tested ones is a warning, once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.capture import versions

X = torch.ones(2, 4)


def routed() -> nn.Module:
    return nn.Sequential(rr.LayerChoice(nn.Linear(4, 4), 0.5), nn.ReLU()).eval()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Pretends that this torch is installed, in a process that has captured nothing yet."""
    versions._warn_unless_tested.cache_clear()
    yield lambda version: monkeypatch.setattr(torch, "__version__", version)
    versions._warn_unless_tested.cache_clear()


@pytest.mark.parametrize(
    "capture",
    [
        pytest.param(lambda model, bundle: rr.export(model, (X,)), id="export"),
        pytest.param(lambda model, bundle: rr.plan_of(model, (X,)), id="plan_of"),
        pytest.param(lambda model, bundle: rr.verify(bundle, model, (X,)), id="verify"),
    ],
)
def test_untested_torch_is_warned_of_once(
    capture: Callable[[nn.Module, rr.Bundle], Any], installed: Callable[[str], None]
) -> None:
    model = routed()
    bundle = rr.export(model, (X,))
    installed("2.99.0+cpu")
    told = r"expected torch 2\.13 or 2\.14, which are tested, got 2\.99\.0\+cpu; .*verify.*pip install"
    with pytest.warns(UserWarning, match=told) as warned:
        capture(model, bundle)
    assert len(warned) == 1 and warned[0].filename == __file__  # the line of who asked for it
    capture(model, bundle)  # warnings are errors here


@pytest.mark.parametrize("version", ["2.12.9", "2.15.0", "3.0.0", "2.1", "2.130.0", "12.13.0", "unknown"])
def test_other_versions_are_untested(version: str, installed: Callable[[str], None]) -> None:
    installed(version)
    with pytest.warns(UserWarning, match="expected torch"):
        versions.warn_of_untested_torch()


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu", "2.13.7", "2.14.0", "2.14.1+cu130", "2.14.1"])
def test_tested_versions_are_silent(version: str, installed: Callable[[str], None]) -> None:
    installed(version)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rr.plan_of(routed(), (X,))


def test_nothing_is_said_before_a_capture(installed: Callable[[str], None]) -> None:
    installed("2.99.0")
    model = routed()
    with rr.seeded(model, 1):
        model(X)
    rr.plan_of(model)
