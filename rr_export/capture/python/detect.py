"""Whether a model's own code decides anything, and whether it draws where nobody can follow it.

The model runs once as it is, all branches of its sites included, while everything random is watched: the functions of
torch, Python and numpy, their global generators, generators of the model's own, and the operating system.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from rr_export.capture.python import heap, world
from rr_export.capture.python.coins import may_be_source
from rr_export.capture.python.intercepting import ASKS_FOR_CAPTURE, LOOP, called_in_place, intercepted
from rr_export.capture.python.plain_access import attributes_of
from rr_export.capture.python.random_functions import GENERATORS, GLOBAL_GENERATORS, REGULARISING
from rr_export.capture.python.source_code import is_library_code, is_library_file
from rr_export.capture.python.state import ALIKE, ANEW
from rr_export.capture.python.training_mode_routes import routed_in_training
from rr_export.capture.python.varied import tensors_in
from rr_export.capture.recorder import DenseRecorder
from rr_export.capture.refusals import described
from rr_export.capture.request import Request
from rr_export.capture.user_lines import line_of_error
from rr_export.eager.kept_streams import streams_kept
from rr_export.eager.tracers import recording_with
from rr_export.errors import CaptureError, RunError

logger = logging.getLogger(__name__)

_READS = (
    *(torch.Tensor.__bool__, torch.Tensor.item),
    *(torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__, torch.Tensor.tolist),
    *(torch.equal, torch.allclose, torch.is_nonzero),
    *(torch.Tensor.equal, torch.Tensor.allclose, torch.Tensor.is_nonzero),
)
RUNS = 8  # that all must fail before a model is said to fail by itself, not on some of its ways
_OTHER = (
    f"expected {ALIKE}, got a model that does something else once it has run before: a side effect that would be lost; "
    f"{ANEW}"
)
_ASKING = {function.__code__ for function in ASKS_FOR_CAPTURE}
_PASSED_ON = frozenset({"random", "secrets", "uuid", "os", "numpy"})  # their callers are who drew


@dataclass
class _Seen:
    """What a run showed.

    Attributes:
        decided: a random function was called, a number was read out of a tensor, code of the author's own asked
            whether it is captured, or a site returned tensors of different shapes.
        foreign: where something was drawn that cannot be followed, and what.
    """

    decided: bool = False
    foreign: tuple[str, str] | None = None
    own: list[Any] = field(default_factory=list)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A random function is called."""
        # dropout that is off draws nothing
        quiet = function in REGULARISING and REGULARISING[function](_no_numbers, *args, **kwargs) is None
        self.decided |= not quiet and function is not LOOP  # a loop by itself is torch.export's
        return called_in_place(function, args, kwargs)

    def part(self, call: int, results: Sequence[Any]) -> Any:
        """A site returns tensors of different shapes: what follows is computed for each of them."""
        self.decided = True
        return results[0]

    def read(self, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """Another function of torch was called."""
        if function in _READS and not self.decided:
            frame = sys._getframe(2)
            self.decided = not is_library_code(frame.f_code) and _home(frame) != "rr_export"
        return result

    def profile(self, frame: FrameType, event: str, called: Any) -> None:
        """Does a call ask whether it is captured, or a clock? Is one a source of randomness that cannot be followed?"""
        if event == "call" and frame.f_code in _ASKING and frame.f_back is not None:
            self.decided |= not is_library_code(frame.f_back.f_code) and _home(frame.f_back) != "rr_export"
        if event == "c_call" and not self.decided and may_be_source(called):
            self.decided = not is_library_code(frame.f_code) and _is_others(frame)
        if event != "c_call" or self.foreign is not None:
            return
        owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
        if isinstance(owner, random.Random) and owner is not GLOBAL_GENERATORS[0] and name != "__reduce__":
            self._draws(frame, f"draws from the global generators, got one from a {type(owner).__name__} of its own")
        elif name in ("urandom", "getrandom"):
            self._draws(frame, "draws from torch, random or numpy.random, got one from another source: os.urandom")

    def _draws(self, frame: FrameType | None, what: str) -> None:
        while frame is not None and _home(frame) in _PASSED_ON:
            frame = frame.f_back
        if frame is not None and _is_others(frame):
            self.foreign = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}", what


def _no_numbers(tensor: torch.Tensor) -> Any:
    raise NotImplementedError


def _home(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_others(frame: FrameType) -> bool:
    return _home(frame) not in (*sys.stdlib_module_names, "torch", "rr_export", "rr_runtime")


def decides(request: Request, *, training: Collection[str]) -> bool:
    """Returns whether the model's own code draws, or has conditions on numbers in tensors, or must go all ways.

    Raises:
        CaptureError: it draws where the draws cannot be followed.
    """
    model = request.model
    seen, raised = _Seen(own=list(_own_generators(model))), False
    before, own = _states(GLOBAL_GENERATORS), _states(seen.own)
    with (
        heap.restored(model) as state,
        world.kept(),
        streams_kept(),
        routed_in_training(model, training),
        torch.no_grad(),
    ):
        try:
            returned = _watched(request, seen)
        except (CaptureError, RunError):
            raise
        except Exception:  # what it would have decided is not known: the survey looks, and says what is raised
            logger.debug("the model's code raised where all branches of its sites ran", exc_info=True)
            seen.decided = raised = True
        drawn = _states(GLOBAL_GENERATORS) != before or _states(seen.own) != own
        if not (seen.decided or drawn or seen.foreign):
            _check_alike(request, seen, returned, state)
    if raised and not training:
        _check_runs(request)
    if seen.foreign is not None:
        where, what = seen.foreign
        raise CaptureError(f"{where}: expected {what}; use torch.rand, random.random or numpy.random.rand")
    return seen.decided or drawn


def _watched(request: Request, seen: _Seen) -> Any:
    """Returns what the model returns where all branches of its sites run."""
    recorder = DenseRecorder(request, markers=False)
    recorder.apart = seen.part
    with (
        request.kept(),
        recording_with(recorder),
        intercepted(seen.call, modules_of(request.model), seen.read),
        _profiled(seen),
    ):
        return request.call()


def _check_alike(request: Request, seen: _Seen, returned: Any, before: heap.Snapshot) -> None:
    """Raises where a model that decided nothing in its first run does something else in one of the next.

    It runs once more, and again while its runs leave other things behind. What the first left behind may also stand in
    for what is computed from other arguments: there a run after others is compared with a first one.
    """
    first = _tensors(returned)
    for _ in range(RUNS):
        state = heap.snapshot([("self", request.model)])
        try:
            again = _tensors(_watched(request, seen))
        except Exception as error:
            raise CaptureError(f"{line_of_error(error) or 'model'}: {_OTHER}") from error
        if seen.decided or not _are_close(first, again):
            raise CaptureError(f"model: {_OTHER}")
        if not any(heap.changed(state, heap.snapshot([("self", request.model)]))):
            break
    if any(heap.changed(before, state)) and not _is_first_again(request.changed(_other), before):
        raise CaptureError(f"model: {_OTHER}")


def _is_first_again(request: Request, before: heap.Snapshot) -> bool:
    """Does the model, that has run on other arguments, do with these what it would do in a first run?"""
    try:
        later = _tensors(_watched(request, _Seen()))
        heap.restore(before)
        return _are_close(_tensors(_watched(request, _Seen())), later)
    except Exception:  # arguments that it does not take tell nothing
        logger.debug("the model raised on other arguments than the example", exc_info=True)
        return True


def _other(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Other numbers that a model takes where it takes these."""
    return 0.75 * tensor if tensor.dtype.is_floating_point else tensor.flip(*range(tensor.dim()))


def _tensors(returned: Any) -> list[torch.Tensor]:
    return [t.clone() for t in tensors_in(returned)]


def _are_close(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(_is_close, first, second))


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Are these tensors of two runs alike in half of their digits?"""
    if (one.shape, one.dtype, one.layout) != (other.shape, other.dtype, other.layout):
        return False
    inexact = one.dtype.is_floating_point or one.dtype.is_complex
    wide = torch.complex128 if one.dtype.is_complex else torch.float64 if inexact else one.dtype
    tolerance = math.sqrt(torch.finfo(one.dtype).eps) if inexact else 0.0
    dense = [(t if t.layout == torch.strided else t.to_dense()).to(wide) for t in (one, other)]
    return torch.allclose(dense[0], dense[1], rtol=tolerance, atol=tolerance, equal_nan=True)


def _check_runs(request: Request) -> None:
    """Raises where the model by itself fails on these arguments, whatever it draws."""
    with heap.restored(request.model), world.kept(), request.kept(), streams_kept(), torch.no_grad():
        for _ in range(RUNS):
            try:
                request.call()
            except (CaptureError, RunError):
                raise
            except Exception as error:
                raised = error
            else:
                return
    raise CaptureError(
        f"{line_of_error(raised) or 'model'}: expected a model that runs on these arguments, got "
        f"{described(raised)} where it is called as model(*args); mend the arguments, or the model"
    ) from raised


@contextlib.contextmanager
def _profiled(seen: _Seen) -> Iterator[None]:
    outer = sys.getprofile()
    sys.setprofile(seen.profile)
    try:
        yield
    finally:
        sys.setprofile(outer if callable(outer) else None)


def modules_of(root: nn.Module) -> list[Any]:
    """Returns the Python modules in which the model's classes are written, and all others that are no library's."""
    names = dict.fromkeys(type(m).__module__ for m in root.modules())
    own = [sys.modules[n] for n in names if n in sys.modules and n.partition(".")[0] != "torch"]
    return own + [m for m in _author_modules(len(sys.modules)) if m not in own]


@functools.lru_cache(maxsize=1)
def _author_modules(count: int) -> list[Any]:
    """The loaded modules that belong to no installed package; looked for again when there are other modules."""
    found = []
    for name, module in list(sys.modules.items()):
        home = name.partition(".")[0]
        file = (attributes_of(module) or {}).get("__file__")
        known = home in (*sys.stdlib_module_names, "torch", "rr_export", "rr_runtime") and home != "__main__"
        if isinstance(file, str) and not known and not is_library_file(file):
            found.append(module)
    return found


def _own_generators(model: nn.Module) -> Iterator[Any]:
    """The generators that the model or the globals of its files hold, other than the global ones."""
    holders = (*model.modules(), *modules_of(model))
    values = [v for holder in holders for v in list((attributes_of(holder) or {}).values())]
    for value in values:
        if issubclass(type(value), (*GENERATORS, torch.Generator)) and not any(value is g for g in GLOBAL_GENERATORS):
            yield value


def _states(generators: Any) -> list[str]:
    """What the generators will draw next, comparable."""
    found = []
    for one in generators:
        if isinstance(one, random.Random):
            state: Any = None if isinstance(one, random.SystemRandom) else one.getstate()
        elif isinstance(one, torch.Generator):
            state = one.get_state().tolist()
        elif isinstance(one, np.random.Generator):
            state = one.bit_generator.state
        else:
            state = [str(part.tolist() if isinstance(part, np.ndarray) else part) for part in one.get_state()]
        found.append(str(state))
    return found
