"""Prepared runs of every form of a model are those of the session, also where paths come and go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_runtime import RuntimeFailure, Session

SIZES = {"cuda": 3, "qnn": 2, "cpu": 3, "default": 3}  # qnn's files have a fixed size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four paths, nested and skipped, as a graph, gates, segments and frozen paths."""
    torch.manual_seed(0)
    inner = rr.OperationChoice({"a": nn.Linear(4, 4), "b": nn.Tanh()}, rr.Uniform(2))
    model = nn.Sequential(
        rr.LayerChoice(nn.Sequential(nn.Linear(4, 4), inner), 0.6), rr.LayerChoice(nn.Linear(4, 4), 0.5)
    ).eval()
    bundle = rr.export(model, (torch.randn(2, 4),), dynamic_shapes={"input": {0: "batch"}})
    bundle = rr.package(bundle, "cuda")
    bundle = rr.package(bundle, "qnn", sizes={"batch": 2})
    bundle = rr.package(bundle, "cpu", frozen=4)
    return bundle.save(tmp_path_factory.mktemp("prepared") / "bundle")


@pytest.mark.parametrize("target", SIZES)
def test_prepared_runs_are_those_of_the_session(folder: Path, target: str) -> None:
    session = Session(folder, target=target, loaded_paths=2)
    step = session.prepare({"input": (SIZES[target], 4)})
    (name,) = step.outputs
    seen = set()
    for seed in range(40):
        x = np.random.default_rng(seed).normal(size=(SIZES[target], 4)).astype(np.float32)
        step.inputs["input"][...] = x
        expected, found = session.run({"input": x}, seed=seed), step.run(seed=seed)
        assert expected.path is not None and found.path is not None and found.path.dtype == np.int64
        assert found.path.tolist() == expected.path.tolist()
        np.testing.assert_array_equal(found.outputs[name], expected.outputs[name])
        assert np.shares_memory(found.outputs[name], step.outputs[name])
        assert not np.shares_memory(found.outputs[name], step.inputs["input"])  # on the path that skips all
        forced = step.run(path=expected.path)
        np.testing.assert_array_equal(forced.outputs[name], expected.outputs[name])
        seen.add(tuple(found.path.tolist()))
    assert len(seen) >= 4


def test_frozen_paths_that_are_gone_are_not_held(folder: Path) -> None:
    session = Session(folder, target="cpu", loaded_paths=1)
    step = session.prepare({"input": (1, 4)})
    for path in session.manifest.targets["cpu"].paths:
        step.run(path=path.path)
        assert len(step._rerun._bound) == 1  # type: ignore[attr-defined]


def test_a_path_that_is_not_packaged_is_refused(folder: Path) -> None:
    session = Session(folder, target="cpu")
    step = session.prepare({"input": (1, 4)})
    packaged = {p.path for p in session.manifest.targets["cpu"].paths}
    other = next(p for p in ((0, -1, 0), (0, -1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)) if p not in packaged)
    with pytest.raises(ValueError, match=r"^path: expected one of the 4 paths of target 'cpu'"):
        step.run(path=other)


def test_sizes_of_a_target_are_fixed(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^inputs: expected batch of at least 2 and at most 2, got 3"):
        Session(folder, target="qnn").prepare({"input": (3, 4)})


def test_sabotage_segments_of_another_size_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(folder, target="qnn")
    step = session.prepare({"input": (2, 4)})
    engine = session.engine
    wrong = {name: np.zeros((5, 4), np.float32) for name in step.outputs}
    monkeypatch.setattr(engine, "run", lambda *_: (wrong, None))
    with pytest.raises(RuntimeFailure, match=r"^output '\w+': expected the shape \(2, 4\) .*, got \(5, 4\); take Ses"):
        step.run(seed=0)
