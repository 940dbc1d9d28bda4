"""Compares a file with an eager model on the user's inputs in other processes, each of which opens both once."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.capture.request import Request, bind
from rr_export.capture.trace import trace_plan
from rr_export.content_digest import content_digest
from rr_export.eager.layer_choice import LEARNED
from rr_export.parity.data_check import InputTask
from rr_export.parity.eager_model import Eager
from rr_export.parity.input_result import compare_on_input
from rr_export.parity.open_once import open_once
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms, silent

STATE = "model.pickle"


@dataclass(frozen=True)
class ModelWorker:
    """Compares on an input in whatever process it is called.

    Attributes:
        state: the file that holds the model.
        bundle: where the file to prove is.
        terms: what counts as equal.
    """

    state: Path
    bundle: Path
    terms: Terms

    def __call__(self, task: InputTask) -> dict[str, Any]:
        """Returns the result on an input, JSON-ready; what the task is given are args and kwargs."""
        with redirect_stdout(sys.stderr):  # what the model prints is no part of what the caller does
            example, file = _opened(self.state, self.bundle)
            reference = Eager(bind(example.model, *task.given))
            return asdict(compare_on_input(task.number, reference, file, task.paths, self.terms))


def model_worker(
    request: Request, folder: Path, terms: Terms
) -> Callable[[Path], tuple[ModelWorker, Callable[[Eager], Any]]]:
    """Returns what makes the work for other processes, which find the model in a folder that they see.

    Args:
        request: the eager model with its example.
        folder: of the bundle.
        terms: what counts as equal.
    """

    def made(scratch: Path) -> tuple[ModelWorker, Callable[[Eager], Any]]:
        import cloudpickle

        held = (request.model, request.args, request.kwargs)
        (scratch / STATE).write_bytes(cloudpickle.dumps([*sys.path, os.getcwd()]) + cloudpickle.dumps(held))
        worker = ModelWorker((scratch / STATE).resolve(), folder.resolve(), replace(terms, progress=silent))
        return worker, lambda reference: (reference.request.args, reference.request.kwargs)

    return made


def model_digest(model: nn.Module) -> str:
    """Returns what tells a model from others: all that its modules hold, and the source files of their classes."""
    files = sorted({inspect.getsourcefile(type(module)) or "" for module in model.modules()} - {""})
    sources = [Path(file).read_bytes() if Path(file).is_file() else file for file in files]
    return content_digest(model, sources, without=LEARNED)


@open_once
def _opened(state: Path, folder: Path) -> tuple[Request, File]:
    import cloudpickle

    with state.open("rb") as stream:
        sys.path += [place for place in cloudpickle.load(stream) if place not in sys.path]
        held = cloudpickle.load(stream)
    bundle: Bundle = load(folder)
    request = bind(*held)
    trace_plan(request.with_axes_of(bundle.manifest), training=bundle.manifest.get("training_routes", ()))
    return request, File(folder, bundle, threads=1)
