"""The frozen path that bench compares with has the form, sizes and precision of what is timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.tools.bench import freeze_usual
from rr_runtime import Session
from rr_runtime.tools.bench import bench


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = nn.Sequential(rr.LayerChoice(nn.Linear(8, 8), 0.7), nn.Linear(8, 8)).eval()
    made = rr.export(model, (torch.randn(4, 8),), dynamic_shapes={"input": {0: "batch"}}, target="cuda")
    made = rr.package(made, "qnn", sizes={"batch": 2})
    return made.save(tmp_path_factory.mktemp("frozen") / "bundle")


def test_bug_every_target_has_its_own_frozen_path(bundle: Path, tmp_path: Path) -> None:
    found = freeze_usual(bundle, tmp_path)
    assert found is not None
    path, folder = found
    assert path == (1,)
    inputs = {"input": np.ones((2, 8), np.float32)}
    expected = Session(bundle, target="default").run(inputs, path=path).outputs["output"]
    for name in ("default", "cuda", "qnn"):
        session = Session(folder, target=name)
        np.testing.assert_allclose(session.run(inputs).outputs["output"], expected, rtol=1e-5, atol=1e-6)
    assert dict(Session(folder, target="qnn").manifest.targets["qnn"].sizes) == {"batch": 2}


def test_bug_a_frozen_file_that_does_not_open_is_left_out(bundle: Path, tmp_path: Path) -> None:
    frozen = rr.freeze(rr.load(bundle), (1,)).save(tmp_path / "frozen")  # without targets
    result = bench(bundle, providers=["cpu"], targets=["qnn"], runs=10, loads=0, usual=(1,), frozen=frozen)
    (subject,) = result["subjects"]
    assert not subject["error"] and subject["frozen"] is None and subject["ratio_to_frozen"] is None
    assert subject["law"]
