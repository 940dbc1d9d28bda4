"""Static files whose inputs and outputs keep their places: on the CPU, where nothing is captured, but all else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from rr_runtime import ProviderError, Session
from rr_runtime.engines.captured import GRAPHS, Captured

from . import handmade


@pytest.fixture
def plain(tmp_path: Path) -> onnxruntime.InferenceSession:
    file = handmade.write_file(tmp_path / "plain.onnx", "plain")
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def test_outputs_are_those_of_the_session(plain: onnxruntime.InferenceSession) -> None:
    captured = Captured(plain, "cpu")
    names = [node.name for node in plain.get_outputs()]
    kept = []
    for factor in range(1, 4):
        for batch in (2, 3, 1):
            inputs = {n: (a * factor).astype(a.dtype) for n, a in handmade.example(batch).items()}
            found = captured.run(names, inputs)
            expected = plain.run(names, inputs)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)
            kept.append((found, [a.copy() for a in found]))
    for found, copies in kept:  # what a run returned is not overwritten by the next
        for a, b in zip(found, copies, strict=True):
            np.testing.assert_array_equal(a, b)


def test_places_are_bounded(plain: onnxruntime.InferenceSession) -> None:
    captured = Captured(plain, "cpu")
    for batch in range(1, 3 * GRAPHS):
        captured.run(["y"], handmade.example(batch))
        assert len(captured._places) <= GRAPHS
    assert [node.name for node in captured.get_inputs()] == [node.name for node in plain.get_inputs()]


def test_cuda_graphs_of_a_routed_file_are_refused(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rr_runtime.session.find_provider", lambda name: "CUDAExecutionProvider")
    with pytest.raises(ProviderError, match=r"expected a frozen target for CUDA graphs, got default; package one"):
        Session(bundles["explicit"], provider="cuda", provider_options={"enable_cuda_graph": "1"})
