"""Measures what other exporters make of models of the zoo: ``python -m tests.zoo.compare``, about seven minutes.

It writes ``docs/python-peers.json`` and the table in ``docs/python.md``. Every cell is exported and judged in a process
of its own; :mod:`tests.zoo.compare_cell` says how.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.zoo import branches, calls, chains, conds, draws, gates, loop_lengths, loops, state, training
from tests.zoo import cond_twins as twins
from tests.zoo.compare_cell import (
    ALPHA,
    EXPORTERS,
    PROCESSES,
    RUNS,
    SESSIONS,
    Law,
    Row,
    by_dynamo,
    first_runs,
    judge_processes,
    measure_laws,
    run_cell,
)

DATA = Path(__file__).parents[2] / "docs" / "python-peers.json"
PAGE = DATA.with_name("python.md")
BEGIN, END = "<!-- made by python -m tests.zoo.compare -->", "<!-- end -->"
LIMIT = 120.0  # seconds that a cell may take
PACKAGES = ("torch", "onnx", "onnxruntime", "onnxscript", "onnx-ir", "numpy", "transformers")
MODULES = (branches, calls, chains, conds, draws, gates, loop_lengths, loops, state, training)
CASES = {case.name: case for module in MODULES for case in module.CASES}

MEANING = {
    "cannot be written": "there is no such model",
    "refuses": "raises an error",
    "crashes": "ends the process",
    "hangs": f"is not done after {LIMIT:.0f} s",
    "does not load": "ONNX Runtime refuses it",
    "does not run": "it loads, and a run raises an error",
    "frozen": "always takes what was drawn, or decided for the example, when it was exported",
    "wrong values": "gives outputs that no path of the model gives",
    "wrong law": "takes the model's paths, but with other probabilities",
    "wrong first run": "takes the model's paths with its probabilities, but not in the first run of a process",
    "computes everything": "is the same model, but nothing is skipped: there is no `If`",
    "holds": "is the same model",
}


def keep_depth(model: nn.Module) -> None:
    """Only what routes is in training mode: no dropout, no statistics of batches."""
    for module in model.modules():
        module.training = isinstance(module, training.StochasticDepth)


def keep_layer_drop(encoder: nn.Module) -> None:
    encoder.training, encoder.dropout = True, 0.0


def between(model: nn.Module) -> None:
    """Puts the threshold of an early exit between what its first head says of the two inputs."""
    with torch.no_grad():
        first = [model.heads[0](model.layers[0](x).tanh()) for x in (gates.POSITIVE, gates.NEGATIVE)]
        model.threshold = sum(logits.softmax(-1).amax(-1).min().item() for logits in first) / 2


def early_exit_twin() -> nn.Module:
    model = twins.EarlyExit()
    between(model)
    return model


def leave_first(model: nn.Module) -> None:
    model.threshold = 0.0


def leave_second(model: nn.Module) -> None:
    model.threshold = 0.9999


def other_sign(model: nn.Module) -> None:
    with torch.no_grad():
        model.gate.weight.neg_()


def other_cond(model: nn.Module) -> None:
    block = model.cond
    block.forward = lambda x: block.small(x) if x.sum() > 0 else block.large(x).relu() + 1


def row(feature: str, case: str, twin: Callable[[], nn.Module] | str, **more: Any) -> Row:
    return Row(feature, CASES[case], twin, **more)


BOTH = ((gates.POSITIVE,), (gates.NEGATIVE,))
ROWS = (
    row("`if torch.rand(())`", "draws/rand", twins.IfRand),
    row("`.item()`", "draws/rand_item", twins.IfRand),
    row("`torch.bernoulli`", "draws/bernoulli_tensor", twins.IfRand),
    row("`torch.bernoulli` that multiplies", "draws/bernoulli_times", twins.BernoulliTimes),
    row("`torch.randint` as index of a `ModuleList`", "draws/randint_index", twins.ThirdsOfExperts),
    row("`torch.multinomial`", "draws/multinomial", twins.Multinomial),
    row("`torch.distributions`", "draws/distribution_bernoulli", twins.IfRand),
    row("`random.random`", "draws/python_random", twins.IfRand),
    row("`random.choice` of modules", "draws/python_choice_of_modules", twins.ThirdsOfExperts),
    row("`numpy.random.rand`", "draws/numpy_rand", twins.IfRand),
    row("early `return`", "branches/early_return", twins.EarlyReturn),
    row("a draw inside a drawn branch", "branches/nested_draw", twins.NestedDraw),
    row("draws in a helper method", "calls/helper_method", twins.HelperMethod),
    row("`continue` over layers", "loops/enumerated", twins.Enumerated),
    row("`break` over layers", "loop_lengths/break", twins.Break),
    row("`while` that stops at random", "loop_lengths/while_random", twins.WhileRandom),
    row("Markov chain", "chains/torch", twins.TorchChain),
    row("probability set by the last decision", "chains/sticky_coins", twins.StickyCoins),
    row("attribute as state", "state/attribute_mode", twins.AttributeMode),
    row("gate on the input", "gates/mean", twins.MeanGate, inputs=BOTH, flips=(other_sign,), runs=100),
    row("gate and draw", "gates/and_coin", twins.GateAndCoin, inputs=BOTH, flips=(other_sign,)),
    row(
        "early exit on confidence",
        "gates/early_exit",
        early_exit_twin,
        inputs=BOTH,
        prepare=between,
        flips=(leave_first, leave_second),
        runs=100,
    ),
    row(
        "`torch.cond` next to a draw", "conds/and_draw", twins.CondAndDraw, inputs=BOTH, flips=(other_cond,), runs=4000
    ),
    row("stochastic depth, kept", "training/stochastic_depth_batch", twins.stochastic_depth, prepare=keep_depth),
    row(
        "Hugging Face layer drop, kept",
        "training/bart_encoder",
        lambda: twins.layer_drop(CASES["training/bart_encoder"].make()[0]),
        prepare=keep_layer_drop,
        runs=4000,
    ),
)


def in_child(work: Callable[[], Any]) -> Any:
    """Returns what ``work`` returns in a forked process; ``{"outcome": ...}`` where it does not come back."""

    def run(reply: Connection) -> None:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            reply.send(work())
        except Exception:
            reply.send(RuntimeError(traceback.format_exc()))

    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=run, args=(there,))
    child.start()
    there.close()
    try:
        if not here.poll(LIMIT):
            return {"outcome": "hangs"}
        found = here.recv()
    except EOFError:
        child.join()
        return {"outcome": "crashes", "error": f"exit code {child.exitcode}"}
    finally:
        child.kill()
        child.join()
    if isinstance(found, Exception):
        raise found
    return found


def measure(rows: Iterable[Row], folder: Path) -> dict[str, Any]:
    """Returns all cells with their outcomes, and what they were measured with."""
    found: list[dict[str, Any]] = []
    files: dict[str, Path] = {}
    judged: dict[str, tuple[dict[str, Any], list[Law]]] = {}
    for row in rows:
        laws = in_child(partial(measure_laws, row))
        assert isinstance(laws, list), f"{row.case.name}: the eager model {laws}"
        cells = {}
        for exporter in EXPORTERS:
            before = time.monotonic()
            file = folder / f"{len(files)}.onnx"
            cells[exporter] = cell = in_child(partial(run_cell, row, exporter, laws, file))
            print(
                f"{time.monotonic() - before:5.1f} s  {row.case.name}, {exporter}: {cell['outcome']}", file=sys.stderr
            )
            if "runs_hold" in cell:
                files[str(file)] = file
                judged[str(file)] = cell, laws
        found.append({"feature": row.feature, "case": row.case.name, "cells": cells})
    for name, outputs in first_runs(files).items():
        judge_processes(*judged[name], outputs)
    return {
        "versions": {name: version(name) for name in PACKAGES} | {"Python": platform.python_version()},
        "false-alarm rate of a file": ALPHA,
        "runs": RUNS,
        "sessions": SESSIONS,
        "processes": PROCESSES,
        "exporters": list(EXPORTERS),
        "rows": found,
    }


def table(data: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the table in Markdown, and of what its words mean."""
    exporters = data["exporters"]
    lines = [
        f"| the model has | {' | '.join(f'`{name}`' for name in exporters)} |",
        "|---" * (1 + len(exporters)) + "|",
    ]
    for row in data["rows"]:
        lines.append(f"| {row['feature']} | {' | '.join(_text(row['cells'][name]) for name in exporters)} |")
    cells = [cell for row in data["rows"] for cell in row["cells"].values()]
    counts = Counter(cell["outcome"] for cell in cells)
    lines += ["", "| outcome | cells | the file, or the exporter |", "|---|---|---|"]
    lines += [f"| {word} | {counts[word]} | {meaning} |" for word, meaning in MEANING.items() if counts[word]]
    drawing = [cell for cell in cells if cell.get("probabilities", [1])[0] < 1]
    alike = sum(cell["paths_of_sessions"] == 1 for cell in drawing)
    return [
        *lines,
        "",
        f"Of {len(drawing)} files that draw, {alike} began {data['sessions']} sessions of one process with one and the "
        "same path. No outcome counts that.",
    ]


def _text(cell: Mapping[str, Any]) -> str:
    if cell["outcome"] == "wrong first run" and not cell["lazy"]:
        return "wrong first run, computes everything"
    return str(cell["outcome"])


def main() -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        # What is imported and built by a first export is there in every forked process.
        by_dynamo(twins.IfRand(), CASES["draws/rand"].make()[1], Path(folder) / "first.onnx")
        data = measure(ROWS, Path(folder))
    DATA.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(paged(PAGE.read_text(encoding="utf-8"), data), encoding="utf-8")


def paged(text: str, data: Mapping[str, Any]) -> str:
    """Returns the text of the page with the table of ``data`` in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(table(data)) + f"\n{END}{after}"


if __name__ == "__main__":
    main()
