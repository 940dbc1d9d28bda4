"""What rr_export relies on or works around upstream; a failure here says that upstream changed, not that we broke.

Measured with torch 2.13, onnx 1.23, onnxruntime 1.32.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import parser
from torch import Tensor, nn


def model(text: str) -> onnx.ModelProto:
    parsed = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    onnx.checker.check_model(parsed)
    return parsed


def session(text: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model(text).SerializeToString(), providers=["CPUExecutionProvider"])


RANDOM = "g (int64[6] x) => (float[6] y) { y = RandomUniformLike <dtype = 1> (x) }"
ZEROS = {"x": np.zeros(6, np.int64)}


def test_sessions_of_one_process_draw_the_same_stream() -> None:
    """So a runtime sets the seed before each standalone session, and always feeds one to explicit files."""
    runs = []
    for _ in range(2):
        onnxruntime.set_seed(11)
        runs.append(session(RANDOM).run(None, ZEROS)[0])
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(session(RANDOM).run(None, ZEROS)[0], session(RANDOM).run(None, ZEROS)[0])


def test_adjacent_seeds_give_almost_equal_first_numbers() -> None:
    """So the last numbers of the random node are hashed, never the first taken as they are."""
    first = []
    for seed in (100, 101):
        onnxruntime.set_seed(seed)
        first.append(float(session(RANDOM).run(None, ZEROS)[0][0]))
    assert 0 < abs(first[0] - first[1]) < 1e-4


def test_bernoulli_is_inverted() -> None:
    """So routes are never drawn with Bernoulli."""
    text = "g (float[4000] p) => (float[4000] y) { y = Bernoulli (p) }"
    kept = session(text).run(None, {"p": np.full(4000, 0.9, np.float32)})[0].mean()
    assert kept == pytest.approx(0.1, abs=0.03)


def test_no_random_kernels_from_opset_22_on() -> None:
    """So opsets end at 21."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 22]> {RANDOM}')
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED|implementation"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_an_empty_batch_of_a_recurrent_layer_ends_the_process(tmp_path: Path) -> None:
    """So such sizes are bounded, or get a row of zeros."""
    layer = "g (float[t, n, 1] x, float[1, 3, 1] w) => (float[t, 1, n, 1] y) { y = GRU <hidden_size = 1> (x, w, w) }"
    (tmp_path / "gru.onnx").write_bytes(model(layer).SerializeToString())
    code = (
        "import sys, numpy as np, onnxruntime as rt; zeros = lambda *s: np.zeros(s, np.float32); "
        "rt.InferenceSession(sys.argv[1]).run(None, {'x': zeros(1, int(sys.argv[2]), 1), 'w': zeros(1, 3, 1)})"
    )
    command = [sys.executable, "-c", code, tmp_path / "gru.onnx"]
    assert [subprocess.run([*command, size], capture_output=True).returncode == 0 for size in "10"] == [True, False]


def test_another_number_of_outputs_than_a_split_has_ends_the_process(tmp_path: Path) -> None:
    """So a byte of ``num_outputs`` is the one whose damage a runtime cannot tell of."""
    parsed = model("g (int64[2] x) => (int64[1] a, int64[1] b) { a, b = Split <axis = 0, num_outputs = 2> (x) }")
    sizes = []
    for count in (2, 1):
        next(a for a in parsed.graph.node[0].attribute if a.name == "num_outputs").i = count
        (tmp_path / "split.onnx").write_bytes(parsed.SerializeToString())
        code = "import sys, onnxruntime as rt; rt.InferenceSession(sys.argv[1])"
        sizes.append(
            subprocess.run([sys.executable, "-c", code, tmp_path / "split.onnx"], capture_output=True).returncode
        )
    assert sizes[0] == 0
    assert sizes[1] < 0  # by a signal


def test_sessions_are_run_by_the_object_inside_them() -> None:
    """What `rr_runtime` calls on the CPU, without the names of every run being looked at again."""
    inner = session("g (float[n] a) => (float[n] y, float z) { y = Neg (a)  z = ReduceSum<keepdims: int = 0>(a) }")
    found = inner._sess.run(["y", "z"], {"a": np.ones(2, np.float32)}, None)
    assert type(found) is list and [type(value) for value in found] == [np.ndarray, np.ndarray]
    assert found[1].shape == () and found[1] == 2


def test_unsigned_arithmetic_wraps() -> None:
    text = "g (uint64[1] a, uint64[1] b) => (uint64[1] y) { m = Mul (a, b)  y = Add (m, b) }"
    a, b = np.array([2**63 + 5], np.uint64), np.array([2**62 + 3], np.uint64)
    assert session(text).run(None, {"a": a, "b": b})[0].tolist() == [((2**63 + 5) * (2**62 + 3) + 2**62 + 3) % 2**64]


def test_torch_export_refuses_a_random_if() -> None:
    """Why a site is captured densely."""

    class Choosing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if torch.rand(()) < 0.5 else x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match=r"data-dependent|Eq|guard"):
            torch.export.export(Choosing().eval(), (torch.zeros(2),), strict=False)


def test_annotations_reach_the_exported_nodes() -> None:
    """How capture knows in which branch a node was made."""

    class Annotated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.fx.traceback.annotate({"rr.test": "here"}):
                return x.relu()

    with torch.fx.traceback.preserve_node_meta():
        program = torch.export.export(Annotated().eval(), (torch.zeros(2),), strict=False)
    (relu,) = [n for n in program.graph.nodes if "relu" in n.name]
    assert relu.meta["custom"]["rr.test"] == "here"
