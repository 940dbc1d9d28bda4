"""Random functions replaced for the time of a run, wherever the model's code finds them."""

from __future__ import annotations

import contextlib
import functools
import math
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch._export.non_strict_utils import _tensor_min_max
from torch.overrides import TorchFunctionMode

from rr_export.capture.python.plain_access import attributes_of, look, mark_of
from rr_export.capture.python.random_functions import _ORIGINALS, TORCH

# functions that change what the global generators draw, or make others, by where they are found
_RESEEDS = {
    **dict.fromkeys((torch, torch.random), ("manual_seed", "seed", "set_rng_state")),
    random: ("seed", "setstate"),
    np.random: ("seed", "set_state", "default_rng"),
}
COND, LOOP = torch.cond, torch.while_loop
# functions by which code asks whether it is captured; it is to do what it does when it is not
ASKS_FOR_CAPTURE = (
    torch.compiler.is_compiling,
    torch.compiler.is_dynamo_compiling,
    torch.compiler.is_exporting,
    torch._dynamo.is_compiling,
    torch.jit._trace.is_tracing,
    torch._jit_internal.is_scripting,
    torch.onnx.is_in_onnx_export,
)
_POW = math.pow
_EXPORTED_POW = "_override_builtin_ops.<locals>.<lambda>"  # what math.pow is while torch.export traces


Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class _TorchSources(TorchFunctionMode):
    def __init__(self, handle: Handler, after: Callable[[Any, Any, Any, Any], Any] | None) -> None:
        super().__init__()
        self.handle, self.after = handle, after

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _handler.get() is None:  # in a context of its own
            return func(*args, **kwargs)
        if func in TORCH:
            return self.handle(func, args, kwargs)
        result = func(*args, **kwargs)
        return result if self.after is None else self.after(func, args, kwargs, result)


_handler: ContextVar[Handler | None] = ContextVar("rr_python_handler", default=None)


@contextlib.contextmanager
def intercepted(
    handle: Handler,
    modules: Sequence[Any] = (),
    after: Callable[[Any, Any, Any, Any], Any] | None = None,
) -> Iterator[None]:
    """Hands every call of a random function of this thread to ``handle`` inside the block.

    Args:
        handle: gets the function, its arguments and its keywords, and returns the result; also of ``torch.cond``
            and of what seeds a generator.
        modules: Python modules in whose globals the functions are looked for too (``from random import random``).
        after: gets every other call of a function of torch with its result, and returns the result.
    """
    token = _handler.set(handle)
    try:
        with stand_ins(modules), _TorchSources(handle, after):
            yield
    finally:
        _handler.reset(token)


@contextlib.contextmanager
def stand_ins(modules: Sequence[Any]) -> Iterator[None]:
    """Inside, stand-ins are wherever random functions are found, so that blocks of :func:`intercepted` begin at once.

    Where no handler is set they do as the functions themselves do.
    """
    spaces = [space for home in (*_RESEEDS, *modules) if (space := attributes_of(home)) is not None]
    there = _there.get()
    new = [space for space in spaces if (id(space), len(space)) not in there]  # names may have come since
    with _replaced(new):
        token = _there.set(there | {(id(space), len(space)) for space in new})
        try:
            yield
        finally:
            _there.reset(token)


@dataclass
class _Replaced:
    """A place where a stand-in is, and how many blocks need it."""

    space: dict[str, Any]
    name: str
    original: Any
    blocks: int = 0


_lock = threading.RLock()
# globals, and how many names they have, in which this thread's outer blocks have put stand-ins
_there: ContextVar[frozenset[tuple[int, int]]] = ContextVar("rr_python_stand_ins", default=frozenset())
_places: dict[tuple[int, str], _Replaced] = {}


@contextlib.contextmanager
def _replaced(spaces: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Random functions in these globals are stand-ins inside the block; they do as ever where no handler is set."""
    mine: list[tuple[int, str]] = []
    with _lock:
        functions = {*_ORIGINALS, COND, LOOP, *_reseeding()}
        kinds = {types.FunctionType, *map(type, functions)}  # no other value's own code is run to see what it is
        for space in {id(space): space for space in spaces}.values():
            for name, value in list(space.items()):
                if type(value) in kinds and original_of(value) in functions:
                    mine.append((id(space), name))
                    place = _places.setdefault(mine[-1], _Replaced(space, name, value))
                    place.blocks += 1
                    space[name] = value if place.blocks > 1 else _stand_in(value)
    try:
        yield
    finally:
        with _lock:
            for key in mine:
                place = _places[key]
                place.blocks -= 1
                if not place.blocks:
                    place.space[place.name] = place.original
                    del _places[key]


def _stand_in(original: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        handle = _handler.get()
        own = str(sys._getframe(1).f_globals.get("__name__")).startswith("torch._")  # torch at work on its own
        return original(*args, **kwargs) if own or handle is None else handle(original, args, kwargs)

    call.__rr_original__ = original  # type: ignore[attr-defined]
    return call


def _reseeding() -> set[Any]:
    """The functions that reseed; torch replaces some of its own while it is imported."""
    return {original_of(getattr(home, name)) for home, names in _RESEEDS.items() for name in names}


def reseeds(function: Any) -> bool:
    """Returns whether a function changes what the global generators draw, or makes another."""
    return look(function, "__name__", "") in {name for names in _RESEEDS.values() for name in names}


def called_in_place(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns what an intercepted function gives by itself; ``torch.cond`` calls the side that its condition says.

    ``torch.while_loop`` calls its body as long as its condition holds.
    """
    if function is LOOP:
        holds, turn, carried, others = loop_arguments(*args, **kwargs)
        while holds(*carried, *others):
            carried = tuple(turn(*carried, *others))
        return carried
    if function is not COND:
        return function(*args, **kwargs)
    condition, on_true, on_false, operands = cond_arguments(*args, **kwargs)
    return on_true(*operands) if condition else on_false(*operands)


def cond_arguments(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Returns the arguments of ``torch.cond`` in order."""
    return pred, true_fn, false_fn, tuple(operands)


def loop_arguments(
    cond_fn: Any, body_fn: Any, carried_inputs: Any, additional_inputs: Any = ()
) -> tuple[Any, Any, tuple[Any, ...], tuple[Any, ...]]:
    """Returns the arguments of ``torch.while_loop`` in order."""
    return cond_fn, body_fn, tuple(carried_inputs), tuple(additional_inputs or ())


def builtin_of(function: Any) -> Any:
    """Returns the builtin that torch.export put its own function in the place of; other functions as they are."""
    if isinstance(function, functools.partial) and function.func is _tensor_min_max:
        return function.keywords["real_callable"]
    return _POW if getattr(function, "__qualname__", "") == _EXPORTED_POW else function


def original_of(function: Any) -> Any:
    """Returns the random function that a stand-in stands for; other functions as they are."""
    return mark_of(function, "__rr_original__", function)
