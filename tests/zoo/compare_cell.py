"""Exports one model with one exporter that is not ours, and judges the file by the eager model's law.

ONNX Runtime seeds every random node with one number of the process plus the node's index, and its generator is linear.
So all sessions of a process begin alike, and nodes near each other draw nearly the same number in their first run; of
three nodes at equal distances u0 - 2 u1 + u2 is a whole number in every run.
"""

from __future__ import annotations

import copy
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rr_export as rr
from tests.zoo.case import Case

Array = NDArray[np.float64]
Feeds = list[tuple[str, NDArray[Any]]]

ALPHA = 1e-6  # the false-alarm rate of all tests of a file together
RTOL, ATOL = 1e-4, 1e-5
RUNS = 60_000  # of one session, for each input
SESSIONS, PROCESSES = 200, 800  # whose first run is looked at; the sessions are of one process
NOISE = r"\x1b\[\d+m| at 0x[0-9a-f]+"  # colours and addresses in messages
FLIPPED, NOWHERE = -1, -2  # labels of outputs that are not on a path of the eager model

# Run by a fresh interpreter: ONNX Runtime takes the seed of all its random nodes from the clock when it is loaded.
FIRST_RUN = """
import json, sys
import numpy as np
import onnxruntime as ort
ort.set_default_logger_severity(4)
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
found = {}
for name, file, feeds in json.loads(sys.stdin.read()):
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    with np.load(feeds) as given:
        outputs = session.run(None, dict(given))
    found[name] = np.concatenate([np.asarray(o, np.float64).ravel() for o in outputs]).tolist()
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Row:
    """A feature, and the model of the zoo that stands for it.

    Attributes:
        feature: what the table says.
        case: the model.
        twin: makes the model written with ``torch.cond``, of the same weights as ``case``; a string: why there is none.
        inputs: the arguments to compare with, on both sides of what the input decides; it is exported with the first.
            None: the example.
        prepare: changes the model before anything else, such as into training mode.
        flips: each changes what the model decides by the input, for one of the inputs at least.
        runs: how often the eager model is run for each input.
    """

    feature: str
    case: Case
    twin: Callable[[], nn.Module] | str
    inputs: tuple[tuple[Any, ...], ...] = ()
    prepare: Callable[[nn.Module], None] = lambda model: None
    flips: tuple[Callable[[nn.Module], None], ...] = ()
    runs: int = 60_000

    def model(self) -> nn.Module:
        model, _ = self.case.make()
        self.prepare(model)
        return model

    def twinned(self) -> nn.Module:
        assert not isinstance(self.twin, str)
        torch.manual_seed(0)
        return self.twin().eval()

    def arguments(self) -> tuple[tuple[Any, ...], ...]:
        return self.inputs or (self.case.make()[1],)


@dataclass(frozen=True)
class Law:
    """What the eager model does for one input: its different outputs, and how often it gave each.

    Attributes:
        outputs: float64 [K, D], all outputs of a run in one row.
        counts: int64 [K].
        flipped: float64 [F, D], outputs of the paths that it would take if the input had decided otherwise.
    """

    outputs: Array
    counts: NDArray[np.int64]
    flipped: Array


def measure_laws(row: Row) -> list[Law]:
    """Runs the eager model with fixed weights and its own draws; all three generators are seeded."""
    laws = []
    for args in row.arguments():
        outputs, counts = eager_paths(row.model(), args, row.runs)
        flipped = outputs[:0]
        for flip in row.flips:
            model = row.model()
            flip(model)
            other, _ = eager_paths(model, args, 200)
            flipped = np.concatenate([flipped, other[label(other, outputs, flipped) == NOWHERE]])
        laws.append(Law(outputs, counts, flipped))
    return laws


def eager_paths(model: nn.Module, args: tuple[Any, ...], runs: int) -> tuple[Array, NDArray[np.int64]]:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(1)
    seen: dict[bytes, int] = {}
    with torch.no_grad():
        for _ in range(runs):
            flat = [o for o in pytree.tree_leaves(model(*args)) if isinstance(o, Tensor)]
            key = torch.cat([o.detach().double().ravel() for o in flat]).numpy().tobytes()
            seen[key] = seen.get(key, 0) + 1
    outputs = np.stack([np.frombuffer(key) for key in seen])
    for i, one in enumerate(outputs):
        close = label(one[None], np.delete(outputs, i, axis=0), outputs[:0], slack=10)
        assert close[0] == NOWHERE, "two paths give nearly the same output"
    return outputs, np.array(list(seen.values()))


def label(runs: Array, paths: Array, flipped: Array, slack: float = 1.0) -> NDArray[np.int64]:
    """Returns the path of each run, by its output: 0..K-1, ``FLIPPED`` or ``NOWHERE``."""
    labels = np.full(len(runs), NOWHERE)
    known = np.concatenate([paths, flipped])
    if not len(known) or runs.shape[1] != known.shape[1]:
        return labels
    for i, run in enumerate(runs):
        off = (np.abs(run - known) - slack * RTOL * np.abs(known)).max(axis=1)
        if off.min() <= slack * ATOL:
            labels[i] = off.argmin() if off.argmin() < len(paths) else FLIPPED
    return labels


def divergence(q: float, p: float) -> float:
    """Kullback-Leibler divergence of Bernoulli(q) from Bernoulli(p), in nats."""
    parts = [a * math.log(a / b) if b > 0 else math.inf for a, b in ((q, p), (1 - q, 1 - p)) if a > 0]
    return sum(parts)


def interval(count: int, runs: int, alpha: float) -> tuple[float, float]:
    """Returns bounds that hold a probability p with at least probability 1 - ``alpha`` (Chernoff).

    P(count / runs >= q) <= exp(-runs KL(q || p)) for q >= p, and likewise below (Hoeffding 1963, theorem 1).
    """
    q, limit = count / runs, math.log(2 / alpha) / runs

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if divergence(q, middle) <= limit else (inside, middle)
        return outside

    return edge(q, 0.0), edge(q, 1.0)


def contradicts(law: Law, labels: NDArray[np.int64], tests: int) -> bool:
    """Whether some path is so much more or less frequent than eagerly that one law cannot give both samples."""
    alpha = ALPHA / (2 * len(law.counts) * tests)
    for path, count in enumerate(law.counts):
        low, high = interval(int(count), int(law.counts.sum()), alpha)
        below, above = interval(int((labels == path).sum()), len(labels), alpha)
        if above < low or high < below:
            return True
    return False


# Exporters: each writes the model as a file, with the options that are the kindest to it.


def by_dynamo(model: nn.Module, args: tuple[Any, ...], file: Path) -> None:
    program = torch.onnx.export(model, args, dynamo=True, verbose=False)
    assert program is not None
    program.save(file)


def by_tracer(model: nn.Module, args: tuple[Any, ...], file: Path) -> None:
    # By default the tracer puts the model into evaluation mode, where what the rows on training look at is off.
    modes = torch.onnx.TrainingMode
    training = modes.PRESERVE if any(module.training for module in model.modules()) else modes.EVAL
    torch.onnx.export(model, args, file, dynamo=False, training=training)


def by_script(model: nn.Module, args: tuple[Any, ...], file: Path) -> None:
    by_tracer(torch.jit.script(model), args, file)


def by_us(model: nn.Module, args: tuple[Any, ...], file: Path, options: Mapping[str, Any]) -> None:
    # standalone: the only interface that other exporters have
    rr.export(model.eval(), args, interface="standalone", **options).save(file)


OURS = "rr.export"
EXPORTERS: Mapping[str, Callable[..., None]] = {
    OURS: by_us,
    "torch.onnx.export(dynamo=True)": by_dynamo,
    "torch.onnx.export(dynamo=False)": by_tracer,
    "torch.jit.script": by_script,
    "torch.cond": by_dynamo,
}


def run_cell(row: Row, exporter: str, laws: list[Law], file: Path) -> dict[str, Any]:
    """Returns the outcome, and what it was read from; first runs of processes are still to be judged."""
    if exporter == "torch.cond" and isinstance(row.twin, str):
        return {"outcome": "cannot be written", "detail": row.twin}
    model = row.twinned() if exporter == "torch.cond" else row.model()
    inputs = row.arguments()
    try:
        options = (row.case.options,) if exporter == OURS else ()
        EXPORTERS[exporter](model, copy.deepcopy(inputs[0]), file, *options)
    except Exception as error:
        return {"outcome": "refuses", **_reason(error)}
    session: Any = None
    try:
        session = open_session(file)
        feeds = [feed(session, args) for args in inputs]
        runs = [_sample(session, f, RUNS) for f in feeds]
        firsts = np.concatenate([_sample(open_session(file), feeds[0], 1) for _ in range(SESSIONS)])
    except Exception as error:
        return {"outcome": "does not load" if session is None else "does not run", **_reason(error)}
    np.savez(file.with_suffix(".npz"), **dict(feeds[0]))
    return {**judge(laws, runs, firsts), "lazy": lazy(file)}


def open_session(file: Path) -> Any:
    import onnxruntime as ort  # not at the top: forked processes would inherit its seed

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def feed(session: Any, args: tuple[Any, ...]) -> Feeds:
    """Returns the inputs by name; a file must want as many tensors as the model."""
    names = [i.name for i in session.get_inputs()]
    tensors = [a for a in pytree.tree_leaves(args) if isinstance(a, Tensor)]
    return [(name, t.numpy()) for name, t in zip(names, tensors, strict=True)]


def _sample(session: Any, feeds: Feeds, runs: int) -> Array:
    given = dict(feeds)
    rows = [[np.asarray(o, np.float64).ravel() for o in session.run(None, given)] for _ in range(runs)]
    return np.stack([np.concatenate(row) for row in rows])


def _reason(error: BaseException) -> dict[str, str]:
    """The error's class and first line, and those of the error that it was raised from."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    found = {"error": _first_line(error)}
    return found if root is error else {**found, "cause": _first_line(root)}


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {re.sub(NOISE, '', lines[0])}"[:200]


def lazy(file: Path) -> bool:
    """Whether anything in the file is computed under a condition."""
    model = onnx.load(file, load_external_data=False)
    nodes = [*model.graph.node, *[node for function in model.functions for node in function.node]]
    return any(node.op_type in ("If", "Loop") for node in nodes)


def judge(laws: list[Law], runs: list[Array], firsts: Array) -> dict[str, Any]:
    """Returns the outcome of a file from the outputs of its runs.

    Args:
        laws: of the eager model, one for each input.
        runs: float64 [RUNS, D] for each input, all of one session.
        firsts: float64 [SESSIONS, D], first runs of sessions of one process, for the first input.
    """
    labels = [label(r, law.outputs, law.flipped) for law, r in zip(laws, runs, strict=True)]
    start = label(firsts, laws[0].outputs, laws[0].flipped)
    seen = [len(np.unique(row)) for row in labels]
    seen[0] = len(np.unique([*labels[0], *start]))
    found = {"paths": [len(law.counts) for law in laws], "paths_seen": seen}
    if any((row == NOWHERE).any() for row in [*labels, start]):
        return {"outcome": "wrong values", **found}
    flips = [bool((row == FLIPPED).any()) for row in labels]
    if flips[0]:
        return {"outcome": "wrong law", "detail": "the branches are swapped", **found}
    if any(flips):
        return {"outcome": "frozen", "detail": "every input gets what was decided for the example", **found}
    if max(found["paths"]) > 1 and max(seen) == 1:
        return {"outcome": "frozen", **found}
    tests = len(laws) + 2  # of the first runs of sessions and of processes, too
    holds = not any(contradicts(law, row, tests) for law, row in zip(laws, labels, strict=True))
    return {
        "outcome": "holds" if holds else "wrong law",
        **found,
        "paths_of_sessions": len(np.unique(start)),
        "runs_hold": holds,
        "sessions_hold": not contradicts(laws[0], start, tests),
        "probabilities": shares(laws[0].counts),
        "runs": shares(np.bincount(labels[0], minlength=len(laws[0].counts))),
    }


def judge_processes(cell: dict[str, Any], laws: list[Law], outputs: Array) -> None:
    """Adds what the first runs [PROCESSES, D] of processes say, for the first input."""
    labels = label(outputs, laws[0].outputs, laws[0].flipped)
    assert (labels >= 0).all(), "an output that the runs of one process did not give"
    cell["processes_hold"] = not contradicts(laws[0], labels, len(laws) + 2)
    cell["first_runs"] = shares(np.bincount(labels, minlength=len(laws[0].counts)))
    if cell["outcome"] == "holds" and not cell["processes_hold"]:
        cell["outcome"] = "wrong first run"
    elif cell["outcome"] == "holds" and not cell["lazy"]:
        cell["outcome"] = "computes everything"


def shares(counts: NDArray[np.int64]) -> list[float]:
    return [round(float(share), 3) for share in counts / counts.sum()]


def first_runs(files: Mapping[str, Path]) -> dict[str, Array]:
    """Returns the outputs [PROCESSES, D] of every file's first run, each in a process of its own."""
    request = json.dumps([(name, str(file), str(file.with_suffix(".npz"))) for name, file in files.items()])
    rows: dict[str, list[list[float]]] = {name: [] for name in files}
    for _ in range(PROCESSES):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_RUN], input=request, capture_output=True, text=True, check=True, timeout=120
        )
        for name, outputs in json.loads(done.stdout).items():
            rows[name].append(outputs)
    return {name: np.array(outputs) for name, outputs in rows.items()}
