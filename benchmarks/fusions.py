"""What onnxruntime's fused normalisation costs over the two nodes that it replaces, by width and rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx.helper as oh
import onnx.numpy_helper as nh
import onnxruntime
import torch

from benchmarks.table import Row, Section
from rr_runtime.tools.timing import Tell, caption, interleave, session_options, spread_of
from rr_runtime.tuning import Tuning

SIZES = ((16, 384), (64, 128), (128, 384), (512, 768))  # rows, width
LAYERS, COPIES = 12, 4  # times of two sessions on one file differ by where their memory lies: by a tenth


def measure(*, runs: int, progress: Tell | None = None, sizes: Sequence[tuple[int, int]] = SIZES) -> Section:
    """Returns the time of a run without the fusion over that with it, one ratio for each pair of sessions."""
    rows = []
    for size in sizes:
        model = _model(*size)
        sessions = {
            f"{name} {copy}": _open(model, tuning)
            for copy in range(COPIES)
            for name, tuning in (("fused", Tuning()), ("not fused", Tuning(left_out=("SkipLayerNormFusion",))))
        }
        x = np.random.default_rng(1).normal(size=(1, *size)).astype(np.float32)
        cases = {name: partial(session.run, None, {"x": x}) for name, session in sessions.items()}
        title = f"{size[0]} rows of width {size[1]}"
        times = interleave(cases, runs=runs, clock=time.thread_time, progress=progress, title=title)
        medians = {name: float(np.median(samples)) for name, samples in times.items()}
        ratios = [medians[f"not fused {copy}"] / medians[f"fused {copy}"] for copy in range(COPIES)]
        rows.append(Row(f"{title}: not fused over fused", spread_of(np.array(ratios)), 1.0))
    return Section(
        f"{LAYERS} times MatMul, Add, LayerNormalization, with and without SkipLayerNormFusion",
        rows,
        caption(runs=runs, threads=1, clock="CPU time", torch=torch.__version__),
    )


def _open(model: bytes, tuning: Tuning) -> onnxruntime.InferenceSession:
    options = session_options(1)
    tuning.leave_out(options)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _model(rows: int, width: int) -> bytes:
    """Returns layers of a product, the sum with what came in, and its normalisation."""
    weight = np.random.default_rng(0).normal(size=(width, width)).astype(np.float32) / width**0.5
    constants = {"w": weight, "scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}
    nodes, x = [], "x"
    for i in range(LAYERS):
        nodes.append(oh.make_node("MatMul", [x, "w"], [f"product{i}"]))
        nodes.append(oh.make_node("Add", [f"product{i}", x], [f"sum{i}"]))
        nodes.append(oh.make_node("LayerNormalization", [f"sum{i}", "scale", "bias"], [f"y{i}"], axis=-1))
        x = f"y{i}"
    ends = [oh.make_tensor_value_info(name, oh.np_dtype_to_tensor_dtype(weight.dtype), [1, rows, width])
            for name in ("x", x)]  # fmt: skip
    weights = [nh.from_array(array, name) for name, array in constants.items()]
    graph = oh.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
    return bytes(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 20)], ir_version=9).SerializeToString())
