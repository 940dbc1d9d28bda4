"""A model whose own code decides, run over all ways.

It is run so twice: once on real numbers, which tells probabilities and what depends on the input, and once by
torch.export, which makes the graph.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import types
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch

from rr_export.capture.python import heap, world
from rr_export.capture.python.detect import decides, modules_of
from rr_export.capture.python.drawing import ComparedAgainError
from rr_export.capture.python.hooks import interpreted_hooks
from rr_export.capture.python.intercepting import intercepted
from rr_export.capture.python.interpreter import Interpreter
from rr_export.capture.python.notes import CONDITION, Notes, Question
from rr_export.capture.python.plain_access import mark_of
from rr_export.capture.python.source_code import wants_interpreter
from rr_export.capture.python.state import ALIKE, ANEW, Entry, kept_from_reading
from rr_export.capture.python.training_mode_routes import (
    EVALUATING,
    TrainingNoiseError,
    TrainingRoutes,
    routed_in_training,
)
from rr_export.capture.python.training_trials import TrainingTrials
from rr_export.capture.python.values import active_interpreter
from rr_export.capture.python.whereabouts import DecidesInPackageError
from rr_export.capture.recorder import DenseRecorder
from rr_export.capture.refusals import described
from rr_export.capture.request import Request
from rr_export.capture.user_lines import line_of_error
from rr_export.eager.choice import Choice
from rr_export.eager.tracers import calling_with, recording_with
from rr_export.errors import CaptureError

logger = logging.getLogger(__name__)

DEEP = 24_000  # Python frames that an unrolled loop may need


@contextlib.contextmanager
def interpreting(tracing: Interpreter) -> Iterator[None]:
    """Inside, the forwards of the model's modules are interpreted, and random functions make decisions."""
    token = active_interpreter.set(tracing)
    limit = sys.getrecursionlimit()
    outputs = tracing.root.register_forward_hook(lambda module, args, result: tracing.outputs(result))
    sys.setrecursionlimit(max(limit, DEEP))
    try:
        with (
            _forwards(tracing),
            interpreted_hooks(tracing),
            calling_with(tracing.call),
            intercepted(tracing.drawn, modules_of(tracing.root), tracing.told),
            routed_in_training(tracing.root, tracing.training.kept),
            tracing.running(),
        ):
            yield
    finally:
        sys.setrecursionlimit(limit)
        outputs.remove()
        active_interpreter.reset(token)


@contextlib.contextmanager
def _forwards(tracing: Interpreter) -> Iterator[None]:
    """The forward of every module that may decide is the interpreter's."""
    undo: list[Callable[[], None]] = []
    try:
        for module in tracing.root.modules():
            if isinstance(module, Choice | torch.jit.ScriptModule) or "forward" in vars(module):
                continue
            forward = type(module).forward
            if not isinstance(forward, types.FunctionType):
                continue
            if wants_interpreter(forward):
                module.forward = types.MethodType(_interpreted(tracing, forward), module)
                undo.append(functools.partial(module.__dict__.pop, "forward"))
            else:
                undo += _inside_wrappers(tracing, forward)
        yield
    finally:
        for step in reversed(undo):
            step()


def _interpreted(tracing: Interpreter, function: types.FunctionType) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return tracing.run_function(function, args, kwargs)

    call.__rr_forward__ = True  # type: ignore[attr-defined]
    return call


def _inside_wrappers(tracing: Interpreter, function: types.FunctionType) -> list[Callable[[], None]]:
    """Puts the interpreter inside decorators of a package: into the cell that holds what they wrap."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):
            inner = cell.cell_contents
            wraps = isinstance(inner, types.FunctionType) and vars(function).get("__wrapped__") is inner
            if not wraps or mark_of(inner, "__rr_forward__") is not None:
                continue
            if not wants_interpreter(inner):
                return _inside_wrappers(tracing, inner)
            cell.cell_contents = _interpreted(tracing, inner)
            return [functools.partial(setattr, cell, "cell_contents", inner)]
    return []


def survey(
    request: Request, *, training: Collection[str] | None = (), varying: Collection[Question] = ()
) -> Interpreter | None:
    """Returns the run over all ways on real numbers; None where the model's own code decides nothing.

    Args:
        request: the model and its arguments.
        training: paths of the modules whose training routes are kept; None: of all that have any.
        varying: questions about numbers in tensors whose answers are known to depend on the input.

    Raises:
        CaptureError: the code cannot be captured faithfully; the text names the line.
    """
    if training is not None:
        return _survey(request, TrainingRoutes(tuple(training)), varying)
    evaluating = _survey(request, EVALUATING, varying)  # refuses what draws numbers in evaluation mode too
    trials = TrainingTrials(request)
    kept = trials.routers()
    left_out: tuple[str, ...] = ()
    while kept:
        try:
            return _survey(request, TrainingRoutes(kept, left_out), varying)
        except TrainingNoiseError as error:
            noisy = trials.leave_out(error.file, error.line, error.module)
            if not noisy or not set(noisy) < set(kept):
                raise
            left_out += noisy
            kept = tuple(name for name in kept if name not in noisy)
            names = ", ".join(repr(name or "the model itself") for name in noisy)
            warnings.warn(f"export: {error}; what {names} would do in training stays off", stacklevel=2)
    return evaluating


def _survey(request: Request, training: TrainingRoutes, varying: Collection[Question]) -> Interpreter | None:
    if not decides(request, training=training.kept):
        return None
    divided: set[int] = set()
    unread: list[Entry] = []
    while True:
        try:
            with kept_from_reading(unread):
                tracing, left = _survey_once(request, training, varying, divided, unread)
            if not left:
                return tracing
            unread += left
        except ComparedAgainError as again:
            divided.add(again.decision)
        except DecidesInPackageError:
            logger.debug("code of a package decides: it is interpreted, too")


def _survey_once(
    request: Request,
    training: TrainingRoutes,
    varying: Collection[Question],
    divided: Collection[int],
    unread: Sequence[Entry],
) -> tuple[Interpreter, list[Entry]]:
    """The run, and the entries that it changes: whether it sets them before it reads them, another run shows."""
    model, recorder = request.model, DenseRecorder(request, markers=False)
    tracing = Interpreter(model, recorder, Notes(varying, divided), training)
    for _, tensor in request.tensors(request.args, request.kwargs):
        tracing.varied.add(tensor)
        tracing.inputs.append(tensor)
    recorder.around, recorder.apart = tracing.entering, tracing.apart
    with (
        heap.restored(model),
        world.kept(),
        request.kept(),
        interpreting(tracing),
        recording_with(recorder),
        torch.no_grad(),
    ):
        run(request)
        left = list(tracing.left(unread))
    for decision in tracing.decisions:
        same = tracing.notes.is_same_in_every_run((str(decision.line), CONDITION))
        decision.unseen = decision.kind == "gate" and not same
    for one in left:
        if one.entry is None:
            raise CaptureError(
                f"{one.line}: expected {ALIKE}, got a side effect that would be lost: {one.what} is changed by a run, "
                f"and lives on to the next; {ANEW}"
            )
    return tracing, [one.entry for one in left if one.entry is not None]


@contextlib.contextmanager
def replaying(tracing: Interpreter) -> Iterator[None]:
    """Around torch.export: the second run over all ways, whose notes are those of the first."""
    tracing.recorder.around, tracing.recorder.apart = tracing.entering, tracing.apart
    with heap.restored(tracing.root), interpreting(tracing):
        yield


def run(request: Request) -> Any:
    """Returns what the model returns, with errors of its code that name the line."""
    try:
        return request.call()
    except CaptureError:
        raise
    except RecursionError as error:
        raise CaptureError(f"model: expected loops with a bound, got code that nests too deeply: {error}") from error
    except Exception as error:
        raise CaptureError(
            f"{line_of_error(error) or 'model'}: expected code that runs where every decision goes all its ways, got "
            f"{described(error)}; write that part otherwise"
        ) from error
