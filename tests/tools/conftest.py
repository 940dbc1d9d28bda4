"""Bundles that the tools look at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import rr_export as rr
from tests import nets


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two layers that are skipped or run; tests must not change it."""
    bundle = rr.export(nets.layers(2, keep=0.8), (nets.example(),))
    return bundle.save(tmp_path_factory.mktemp("two") / "bundle")


@pytest.fixture(scope="session")
def same_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in whose branches onnxruntime's optimisations make nodes of equal names."""
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), 0.5) for _ in range(3))).eval()
    return rr.export(model, (torch.ones(2, 3, 8),)).save(tmp_path_factory.mktemp("names") / "bundle")
