"""What becomes of one random model: exported and right, refused in the project's words, wrong, or crashed."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import rr_export as rr
from rr_export.errors import CaptureError, LoweringError
from tests.generated.file_law import File, FileError, content_of
from tests.generated.oracle import Law, TooManyRunsError, differences, law_of_code
from tests.generated.programs import write_program
from tests.generated.site_models import law_of_tree, module_of, write_tree

RIGHT, REFUSED, WRONG, CRASHED = "right", "refused", "wrong", "crashed"
UNTRIED = "untried"  # too large: it has too many runs on every input
INVALID = "invalid"  # the model itself fails, before any export: a fault of the generator
X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])
INPUTS = (X, -X, X * 3 + 1)  # the first is the example of the export
FORM = re.compile(r".+?: expected .+, got .+; .+", re.DOTALL)
MOST_RUNS = 200_000  # on an input; where the code or the file has more, the law there is not compared
STREAMS = range(8)  # seeds with which the file itself draws
EVERY = 5  # the last of so many seeds is of a site model, the others are of programs


Row = dict[str, Any]  # the fields of a Judged, without the source


@dataclass(frozen=True)
class Judged:
    """What became of a model.

    Args:
        seed: it writes the model.
        kind: "program" or "sites".
        outcome: right, refused, wrong, crashed, untried, or invalid.
        reason: the message, or the first differences.
        paths: how many outputs the example has.
        seconds: that export took, of CPU time.
        source: what was exported.
    """

    seed: int
    kind: str
    outcome: str
    reason: str
    paths: int
    seconds: float
    source: str


def judge(seed: int, folder: Path) -> Judged:
    """Returns what becomes of the model of a seed; ``folder`` takes its source."""
    if kind_of(seed) == "sites":
        tree = write_tree(seed)
        laws = [law_of_tree(tree, x) for x in INPUTS]
        return _judged(seed, "sites", module_of(tree), laws, str(tree))
    program = write_program(seed)
    file = folder / f"program_{seed}.py"
    file.write_text(program.source, encoding="utf-8")
    # Of a module of its own: nothing that the export does to one can reach the oracle.
    try:
        laws = [_law_of(file, seed, x, program.grid) for x in INPUTS]
    except Exception:
        return Judged(seed, "program", INVALID, traceback.format_exc(), 0, 0.0, program.source)
    if all(law is None for law in laws):
        return Judged(seed, "program", UNTRIED, "", 0, 0.0, program.source)
    return _judged(seed, "program", load(file, f"program_{seed}"), laws, program.source)


def _law_of(file: Path, seed: int, x: torch.Tensor, grid: int) -> Law | None:
    """The law of the code on an input; None: it has too many runs."""
    try:
        return law_of_code(load(file, f"oracle_{seed}"), (x,), grid, MOST_RUNS)
    except TooManyRunsError:
        return None


def kind_of(seed: int) -> str:
    """Returns what a seed writes: a "program", or a model of "sites"."""
    return "sites" if seed % EVERY == EVERY - 1 else "program"


def source_of(seed: int) -> str:
    """Returns what a seed writes."""
    return str(write_tree(seed)) if kind_of(seed) == "sites" else write_program(seed).source


def load(file: Path, name: str) -> nn.Module:
    """Returns the model of a file of source."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        net: nn.Module = module.Net().eval()
    finally:
        del sys.modules[name]
    return net


def compare(content: bytes, laws: Sequence[Law | None]) -> list[str]:
    """Returns where a file's laws of outputs are not these, and where its routes are not its manifest's.

    Args:
        content: of the file.
        laws: of the code, on each of the inputs; None: it has too many runs.

    Raises:
        TooManyRunsError: so it is, or the file has, on every input.
    """
    try:
        return _compared(File(content), laws)
    except FileError as error:
        return [str(error)]


def _compared(file: File, laws: Sequence[Law | None]) -> list[str]:
    found: list[str] = []
    tried = 0
    for i, (x, law) in enumerate(zip(INPUTS, laws, strict=True)):
        with contextlib.suppress(TooManyRunsError):
            if law is not None:
                found += [f"input {i}: {line}" for line in differences(law, file.law([np.asarray(x)], MOST_RUNS))]
                tried += 1
        file.check_streams([np.asarray(x)], STREAMS)
    if not tried:
        raise TooManyRunsError
    return found


def _judged(seed: int, kind: str, model: nn.Module, laws: Sequence[Law | None], source: str) -> Judged:
    began = time.process_time()

    def judged(outcome: str, reason: str = "") -> Judged:
        return Judged(seed, kind, outcome, reason, len(laws[0] or ()), round(seconds, 3), source)

    try:
        content = _exported(model)
    except (CaptureError, LoweringError) as error:
        seconds = time.process_time() - began
        return judged(REFUSED if FORM.fullmatch(str(error)) else CRASHED, str(error))
    except Exception:
        seconds = time.process_time() - began
        return judged(CRASHED, traceback.format_exc())
    seconds = time.process_time() - began
    try:
        found = compare(content, laws)
    except TooManyRunsError:
        return judged(UNTRIED)
    except Exception:
        return judged(CRASHED, traceback.format_exc())
    return judged(WRONG, "\n".join(found[:5])) if found else judged(RIGHT)


def _exported(model: nn.Module) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bundle: Any = rr.export(model, (X,))
        return content_of(bundle)
