"""What one more site costs, and what the part of the file costs that decides."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr
from benchmarks.files import CLOCK, OPSET, open_file, routed_case, save_stock, stock_case
from benchmarks.table import Row, Section
from rr_export.lowering import PATH, SEED, TAKEN
from rr_export.lowering.deciding_slice import routing_slice
from rr_runtime.tools.timing import Case, Tell, caption, interleave, spread_of

SITE_TARGET, PRELUDE_TARGET = 2.0, 20.0  # microseconds
WIDTH = 16


def measure(*, runs: int, progress: Tell | None = None, counts: tuple[int, int] = (8, 48)) -> Section:
    """Returns microseconds per site (from two chains of tiny layers) and per routing prelude."""
    with TemporaryDirectory() as folder:
        rows = [*_per_site(Path(folder), counts, runs, progress), *_prelude(Path(folder), counts, runs, progress)]
    return Section(
        "Overhead of routing, in microseconds a run",
        rows,
        caption(runs=runs, threads=1, clock=CLOCK, torch=torch.__version__),
    )


def _chain(count: int) -> nn.Module:
    return nn.Sequential(*(rr.LayerChoice(nn.Tanh(), 0.5) for _ in range(count))).eval()


def _per_site(place: Path, counts: tuple[int, int], runs: int, progress: Tell | None) -> list[Row]:
    """The slope from the shorter to the longer chain; what the layers themselves cost is taken off."""
    x = torch.randn(1, WIDTH)
    cases: dict[str, Case] = {}
    for count in counts:
        bundle = rr.export(_chain(count), (x,), opset=OPSET)
        session = open_file(bundle.save(place / f"routed{count}.onnx"))
        plain = save_stock(nn.Sequential(*(nn.Tanh() for _ in range(count))).eval(), (x,), place / f"plain{count}.onnx")
        cases[f"run {count}"] = routed_case(session, [1] * count, x.numpy())
        cases[f"skip {count}"] = routed_case(session, [0] * count, x.numpy())
        cases[f"plain {count}"] = stock_case(open_file(plain), x.numpy())
    times = interleave(cases, runs=runs, clock=time.thread_time, progress=progress, title="sites")
    few, many = counts
    slope = {n: (times[f"{n} {many}"] - times[f"{n} {few}"]) / (many - few) * 1e6 for n in ("run", "skip", "plain")}
    what = f"one more site ({few} to {many})"
    return [
        Row(f"{what}, its branch run, less the layer", spread_of(slope["run"] - slope["plain"]), SITE_TARGET, "us"),
        Row(f"{what}, skipped", spread_of(slope["skip"]), SITE_TARGET, "us"),
    ]


def _prelude(place: Path, counts: Sequence[int], runs: int, progress: Tell | None) -> list[Row]:
    """The routing slice of a file, less an empty graph with the same inputs and outputs."""
    x = torch.randn(1, WIDTH)
    chain = rr.Markov([0.5, 0.5], [[0.1, 0.9], [0.8, 0.2]])
    few = counts[0]
    steps = nn.Sequential(*(rr.LayerChoice(nn.Tanh(), policy=chain.step(t)) for t in range(few))).eval()
    models = {
        **{f"{n} independent sites": _chain(n) for n in counts},
        f"a Markov chain of {few}": steps,
    }
    cases: dict[str, Case] = {}
    for name, model in models.items():
        bundle = rr.export(model, (x,), opset=OPSET)
        count = len(bundle.plan.sites)
        cut = routing_slice(bundle.save(place / f"{len(cases)}.onnx"), bundle, {"input": x.numpy()})
        feeds = {SEED: np.array(7), PATH: np.full(count, -1, np.int64)}
        for label, content in ((name, cut.content), (f"{name}, empty", _empty(count))):
            session = open_file(content)
            cases[label] = _fed(session, feeds)
    times = interleave(cases, runs=runs, clock=time.thread_time, progress=progress, title="prelude")
    return [
        Row(f"prelude: {n}", spread_of((times[n] - times[f"{n}, empty"]) * 1e6), PRELUDE_TARGET, "us") for n in models
    ]


def _fed(session: onnxruntime.InferenceSession, feeds: dict[str, NDArray[Any]]) -> Case:
    return lambda: session.run([TAKEN], feeds)


def _empty(count: int) -> bytes:
    """A graph with the inputs and the output of a routing slice that decides nothing."""
    seed = ir.Value(name=SEED, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
    path = ir.Value(name=PATH, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([count]))
    same = ir.node("Identity", [path])
    taken = same.outputs[0]
    taken.name, taken.type, taken.shape = TAKEN, path.type, path.shape
    graph = ir.Graph([seed, path], [taken], nodes=[same], opset_imports={"": OPSET}, name="empty")
    content: bytes = ir.to_proto(ir.Model(graph, ir_version=9)).SerializeToString()
    return content
