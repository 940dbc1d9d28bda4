"""What an export costs, over the stock export of the same network with every branch computed."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

import rr_export as rr
from benchmarks.files import CLOCK, OPSET, save_stock
from benchmarks.models import (
    DenseBranches,
    DenseSkips,
    Size,
    encoder_layers,
    example,
    mlp_groups,
    routed_branches,
    routed_skips,
)
from benchmarks.table import Row, Section
from rr_runtime.tools.timing import Tell, caption, spread_of

TARGET = 1.7
SIDES = ("routed", "stock")


@dataclass(frozen=True)
class Network:
    """A network in both forms.

    Attributes:
        size: its sizes.
        routed: with sites.
        dense: with inputs x and routes, every branch computed.
    """

    size: Size
    routed: Callable[[Size], nn.Module]
    dense: Callable[[Size], nn.Module]


def _skips(size: Size, dense: bool) -> nn.Module:
    layers, head = encoder_layers(size)
    return DenseSkips(layers, head).eval() if dense else routed_skips(layers, head)


def _branches(size: Size, dense: bool) -> nn.Module:
    groups, head = mlp_groups(size, 4)
    return DenseBranches(groups, head).eval() if dense else routed_branches(groups, head)


def _network(make: Callable[[Size, bool], nn.Module], layers: int, width: int = 384) -> Network:
    size = Size(width=width, hidden=4 * width, heads=width // 32, layers=layers, tokens=64)
    return Network(size, lambda s: make(s, False), lambda s: make(s, True))


NETWORKS: Mapping[str, Network] = {
    "24 layers that may be skipped": _network(_skips, 24),
    "12 layers of 4 branches": _network(_branches, 12),
}
TINY: Mapping[str, Network] = {
    "2 small layers that may be skipped": _network(_skips, 2, 32),
    "2 small layers of 4 branches": _network(_branches, 2, 32),
}


@dataclass(frozen=True)
class Cost:
    """What one export took: CPU seconds of the process and its children, its peak resident bytes, the file's bytes."""

    cpu_seconds: float
    peak_bytes: float
    file_bytes: float


def measure(*, runs: int, progress: Tell | None = None, networks: Mapping[str, Network] = NETWORKS) -> Section:
    """Returns the ratios of CPU seconds and peak memory; every export is a process of its own."""
    rows = []
    for name in networks:
        costs: dict[str, list[Cost]] = {side: [] for side in SIDES}
        order = list(SIDES)
        for i in range(runs):
            random.Random(i).shuffle(order)
            for side in order:
                costs[side].append(_in_process(side, name))
            if progress is not None:
                progress(name, i + 1, runs)
        seconds = [np.array([c.cpu_seconds for c in costs[side]]) for side in SIDES]
        peaks = [np.array([c.peak_bytes for c in costs[side]]) for side in SIDES]
        rows.append(Row(f"{name}: CPU time", spread_of(seconds[0] / seconds[1]), TARGET))
        rows.append(Row(f"{name}: peak memory", spread_of(peaks[0] / peaks[1])))
    return Section(
        "Cost of an export over torch.onnx.export of the dense network",
        rows,
        caption(runs=runs, threads=1, clock=CLOCK, torch=torch.__version__),
    )


def export_once(side: str, name: str) -> Cost:
    """Returns the cost of one export and save in this process, after a tiny one that pays for the imports."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        _export(side, next(iter(TINY.values())), place / "tiny.onnx")
        network = {**NETWORKS, **TINY}[name]
        before = _cpu_seconds()
        _export(side, network, place / "model.onnx")
        spent = _cpu_seconds() - before
        return Cost(spent, _peak_bytes(), (place / "model.onnx").stat().st_size)


def _export(side: str, network: Network, file: Path) -> None:
    x = example(network.size)
    if side == "routed":
        rr.export(network.routed(network.size), (x,), opset=OPSET).save(file, external_data=False)
    else:
        routes = torch.ones(network.size.layers, dtype=torch.int64)
        save_stock(network.dense(network.size), (x, routes), file)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _peak_bytes() -> float:
    """The most memory that this process held; getrusage would count its parent's too, on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * float(
            next(line.split()[1] for line in status.read_text(encoding="utf-8").splitlines() if "VmHWM" in line)
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _in_process(side: str, name: str) -> Cost:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cost", side, name],
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(vars(export_once(sys.argv[1], sys.argv[2]))))
