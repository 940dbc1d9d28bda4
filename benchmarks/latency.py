"""A routed encoder on given paths, over static files in which only those layers exist."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import rr_export as rr
from benchmarks.files import CLOCK, open_file, routed_case, save_routed, save_stock, stock_case
from benchmarks.models import DenseSkips, Size, encoder_layers, example, on_path, routed_skips
from benchmarks.table import Row, Section
from rr_runtime.tools.timing import Case, Tell, caption, interleave, paired_ratio

NARROW = Size(width=128, hidden=512, heads=4, layers=12, tokens=64)
WIDE = Size(width=384, hidden=1536, heads=12, layers=12, tokens=64)
TARGETS: Mapping[Size, float] = {NARROW: 1.05, WIDE: 1.03}


def measure(*, runs: int, progress: Tell | None = None, targets: Mapping[Size, float] = TARGETS) -> Section:
    """Returns the ratios of the routed file and its peers for every size and some paths."""
    rows: list[Row] = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for size, target in targets.items():
            rows += _rows(size, target, runs, progress)
    finally:
        torch.set_num_threads(before)
    return Section(
        "Latency of a path over a static ONNX file of the same path",
        rows,
        caption(runs=runs, threads=1, clock=CLOCK, torch=torch.__version__),
    )


def _rows(size: Size, target: float, runs: int, progress: Tell | None) -> list[Row]:
    """The rows of one size; every path is timed by itself, so that the caches hold one path's files at most."""
    layers, head = encoder_layers(size)
    routed, x = routed_skips(layers, head), example(size)
    rows = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        session = open_file(save_routed(routed, (x,), place / "routed.onnx"))
        routes = torch.ones(size.layers, dtype=torch.int64)
        dense = open_file(save_stock(DenseSkips(layers, head).eval(), (x, routes), place / "dense.onnx"))
        for kept in dict.fromkeys((size.layers, size.layers * 2 // 3, size.layers // 3)):
            path = [int(i * kept // size.layers < (i + 1) * kept // size.layers) for i in range(size.layers)]
            static = save_stock(on_path(layers, head, path), (x,), place / f"static{kept}.onnx")
            cases: dict[str, Case] = {
                "routed": routed_case(session, path, x.numpy()),
                "static": stock_case(open_file(static), x.numpy()),
                "the static file again": stock_case(open_file(static), x.numpy()),
                "dense with Where": stock_case(dense, x.numpy(), np.array(path, np.int64)),
            }
            where = f"width {size.width}, {kept} of {size.layers} layers"
            with torch.no_grad(), rr.forced(routed, path):
                cases["torch eager"] = lambda: routed(x)
                times = interleave(cases, runs=runs, clock=time.thread_time, progress=progress, title=where)
            rows.append(Row(f"{where}: routed", paired_ratio(times, "routed", "static"), target))
            peers: Sequence[str] = [name for name in cases if name not in ("routed", "static")]
            rows += [Row(f"{where}: {name}", paired_ratio(times, name, "static")) for name in peers]
    return rows
