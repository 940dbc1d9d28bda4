"""``rr-export prune``: what it writes, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import rr_export as rr
from rr_export.cli import cli
from rr_runtime import Session
from rr_runtime.cli.info import info


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, ``out``, of three layers."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(3)]).eval()
    rr.route_layers(model, "[0-2]", keep=0.8)
    bundle = rr.export(model, (torch.ones(2, 64),))
    half = bundle.plan.with_policies({"0": rr.Categorical([0, 1]), "1": rr.Categorical([1, 0])})
    bundle = bundle.with_profile("half", half).with_profile("short", [1, 0, 0])
    place = tmp_path_factory.mktemp("prune_command")
    bundle.save(place / "out")
    return place


def prune(*arguments: str | Path) -> tuple[int, str]:
    ran = CliRunner().invoke(cli, ["prune", *map(str, arguments)])
    return ran.exit_code, " ".join(ran.output.split()) or str(ran.exception)


def test_it_says_what_goes_how_routes_are_called_and_which_law_runs_have(folder: Path, tmp_path: Path) -> None:
    code, said = prune(folder / "out", "-o", tmp_path / "made")
    assert code == 0
    assert "0: without skip; run (1 -> 0) 1: without run; skip (0 -> 0)" in said
    assert "runs without a profile: the law of profile 'half'" in said
    assert f"rr-export verify {tmp_path / 'made'} --against {folder / 'out'}" in said
    code, said = prune(folder / "out", "-o", tmp_path / "made", "--profile", "short", "--law", "short")
    assert code != 0 and "expected no such folder, got one with other content" in said
    code, said = prune(folder / "out", "-o", tmp_path / "made", "--profile", "short", "--law", "short", "--overwrite")
    assert code == 0 and "2: without run; skip (0 -> 0)" in said and "the law of profile 'short'" in said


def test_who_opens_it_is_told(folder: Path, tmp_path: Path) -> None:
    assert prune(folder / "out", "-o", tmp_path / "made", "--profile", "half")[0] == 0
    wanted = "for half; without 0: skip, 1: run; own law that of half"
    told = info(tmp_path / "made")
    assert wanted in told.text() and wanted in told.result["pruned"]["summary"]
    assert wanted in (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert info(folder / "out").result["pruned"] is None
    session, whole = Session(tmp_path / "made"), Session(folder / "out")
    x = {"input": np.ones((2, 64), np.float32)}
    with pytest.raises(
        ValueError, match=r"site '1': expected .* got 1; .*; branches of this file were pruned: session"
    ):
        session.run(x, path=[0, 1, 1])
    with pytest.raises(ValueError, match=r"its branches are 0 skip, 1 run$"):
        whole.run(x, path=[0, 2, 1])
    assert json.loads((tmp_path / "made" / "manifest.json").read_text())["pruned"]["law"] == "half"


def test_bug_a_bundle_does_not_take_the_place_of_its_source(folder: Path) -> None:
    before = (folder / "out" / "model.onnx").read_bytes()
    for output in (folder / "out", folder / "made" / ".." / "out"):
        code, said = prune(folder / "out", "-o", output, "--profile", "half", "--overwrite")
        assert code == 2 and "--output: expected another folder than" in said
    assert (folder / "out" / "model.onnx").read_bytes() == before
