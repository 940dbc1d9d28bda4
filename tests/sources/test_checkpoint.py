"""A checkpoint is that of the model, or refused with the names that differ; no code of a file runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rr_export.errors import SourceError
from rr_export.sources.checkpoint import load_weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 3)
        self.head = nn.Linear(3, 3)
        self.head.weight = self.embed.weight


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin", "nested.pt"])
def test_all_weights_are_those_of_the_file(tmp_path: Path, name: str) -> None:
    states = net(1).state_dict()
    if name == "w.safetensors":
        save_file(states, tmp_path / name)
    else:
        torch.save({"state_dict": states, "epoch": 3} if name == "nested.pt" else states, tmp_path / name)
    model = net(2)
    load_weights(model, tmp_path / name)
    assert all(torch.equal(states[key], value) for key, value in model.state_dict().items())


def test_a_tied_weight_stands_once(tmp_path: Path) -> None:
    source, model = Tied(), Tied()
    states = {key: value for key, value in source.state_dict().items() if key != "head.weight"}
    save_file(states, tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model.head.weight, source.embed.weight)


def test_other_names_are_listed(tmp_path: Path) -> None:
    states = {f"extra{number}": torch.ones(1) for number in range(7)} | net(1).state_dict()
    del states["0.bias"], states["1.running_mean"]
    save_file(states, tmp_path / "w.safetensors")
    expected = (
        r"expected the weights of Sequential, each once, got 2 missing: 0\.bias, 1\.running_mean; "
        r"7 unexpected: extra0, extra1, extra2, extra3, extra4, \.\.\.; name the checkpoint of this model$"
    )
    with pytest.raises(SourceError, match=expected):
        load_weights(net(2), tmp_path / "w.safetensors")


def test_other_shapes_are_listed(tmp_path: Path) -> None:
    states = net(1).state_dict() | {"0.bias": torch.ones(5)}
    save_file(states, tmp_path / "w.safetensors")
    with pytest.raises(SourceError, match=r"expected the shapes of Sequential, got size mismatch for 0\.bias"):
        load_weights(net(2), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Runs(), "expected a file of tensors alone"),
        (net(1), "expected a file of tensors alone"),
        ({"state_dict": {}}, "expected tensors by name, got none"),
        ([torch.ones(1)], "expected tensors by name, got list"),
        ({"a": torch.ones(1), "epoch": 3}, "got int for 'epoch'"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=message):
        load_weights(net(1), tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_damaged_and_absent_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="got no such file; check the path"):
        load_weights(net(1), tmp_path / name)
    (tmp_path / name).write_bytes(b"no tensors")
    with pytest.raises(SourceError, match=r"w\.(pt|safetensors): expected a"):
        load_weights(net(1), tmp_path / name)
