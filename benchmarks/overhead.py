"""What runs of a session cost beyond the bare call of onnxruntime, in microseconds of a run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr
from benchmarks.table import Row, Section
from rr_runtime import Session, draws
from rr_runtime.tools.timing import Case, Tell, Times, caption, interleave, session_options, spread_of

SITES, WIDTH = 4, 16
TARGET = 2.0  # microseconds over the bare call
SEED = 7
MODEL = "model.onnx"
Arrays = Mapping[str, NDArray[Any]]


def measure(*, runs: int, progress: Tell | None = None, target: float = TARGET) -> Section:
    """Returns what a run of each kind costs over the bare call with the same inputs, in the same rounds."""
    rows = []
    with TemporaryDirectory() as folder:
        for file in files(Path(folder)):
            cases = cases_of(file)
            for clock in (time.thread_time, time.perf_counter):
                times = interleave(cases, runs=runs, clock=clock, progress=progress, title=file.kind)
                rows += _rows(file.kind, times, target, "CPU time" if clock is time.thread_time else "wall time")
    return Section(
        f"A session's run over the bare call ({SITES} sites, each one of 2 layers of width {WIDTH})",
        rows,
        caption(runs=runs, threads=1, clock="CPU time and wall time", torch=torch.__version__),
    )


@dataclass(frozen=True)
class File:
    """One kind of file.

    Attributes:
        kind: its interface.
        bundle: its bundle folder.
        model: the file.
        target: the name of the target that it is of.
        own: the model's own inputs.
        added: what the interface adds to them, for the seed `SEED`.
    """

    kind: str
    bundle: Path
    model: str
    target: str
    own: Arrays
    added: Arrays


def cases_of(file: File) -> dict[str, Case]:
    """Returns the bare call, and runs of a session with the same options on the same file."""
    options = session_options(1)
    session = Session(file.bundle, target=file.target, session_options=options)
    bare = onnxruntime.InferenceSession(file.bundle / file.model, options, providers=["CPUExecutionProvider"])
    names, feeds, own = [node.name for node in bare.get_outputs()], {**file.own, **file.added}, dict(file.own)
    cases: dict[str, Case] = {"the bare call": lambda: bare.run(names, feeds)}
    step = session.prepare({name: array.shape for name, array in own.items()})
    for name, array in own.items():
        step.inputs[name][...] = array
    if file.kind == "plain":
        return cases | {"a run": lambda: session.run(own), "a prepared run": step.run}
    path = [int(draw >= 0.5) for draw in draws(SEED, SITES)]
    return cases | {
        "a fresh seed": lambda: session.run(own),
        "a given seed": lambda: session.run(own, seed=SEED),
        "a given path": lambda: session.run(own, path=path),
        "a prepared run, a fresh seed": step.run,
    }


def files(folder: Path) -> list[File]:
    """Returns a file of every interface, written into the folder.

    All branches of a site cost the same, so that a run costs the same on every path.
    """
    torch.manual_seed(0)
    sites = [rr.OperationChoice([nn.Linear(WIDTH, WIDTH) for _ in range(2)], rr.Uniform(2)) for _ in range(SITES)]
    routed, plain = nn.Sequential(*sites).eval(), nn.Sequential(*(site.branches[0] for site in sites)).eval()
    x = torch.randn(1, WIDTH)
    own: Arrays = {"input": x.numpy()}
    free, numbers = np.full(SITES, -1, np.int64), draws(SEED, SITES)
    explicit = rr.export(routed, (x,), target="cuda").save(folder / "explicit")
    host = rr.export(routed, (x,), interface="host").save(folder / "host")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no sites
        flat = rr.export(plain, (x,)).save(folder / "plain")
    gates = {f"rr_gate.{i}.1": np.array([draw >= 0.5]) for i, draw in enumerate(numbers)}
    return [
        File("explicit", explicit, MODEL, "default", own, {"rr_seed": np.array(SEED, np.int64), "rr_path": free}),
        File("host", host, MODEL, "default", own, {"rr_draws": numbers, "rr_path": free}),
        File("gates", explicit, "cuda.onnx", "cuda", own, gates),
        File("plain", flat, MODEL, "default", own, {}),
    ]


def _rows(kind: str, times: Times, target: float, clock: str) -> list[Row]:
    """The bare call, and what the others take beyond it; the target is for files whose draws are the graph's."""
    bare = "the bare call"
    aim = target if kind in ("explicit", "plain") else None
    return [Row(f"{kind}, {clock}: {bare}", spread_of(times[bare] * 1e6), None, "us")] + [
        Row(f"{kind}, {clock}: {case}, over it", spread_of((times[case] - times[bare]) * 1e6), aim, "us")
        for case in times
        if case != bare
    ]
