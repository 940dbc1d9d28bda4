"""Random functions replaced for the time of a run, wherever the model's code finds them."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from rr_export.python.sources import _ORIGINALS, TORCH

# functions that change what the global generators draw, or make others, by where they are found
_RESEEDS = {
    **dict.fromkeys((torch, torch.random), ("manual_seed", "seed", "set_rng_state")),
    random: ("seed", "setstate"),
    np.random: ("seed", "set_state", "default_rng"),
}
COND = torch.cond


Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class _TorchSources(TorchFunctionMode):
    def __init__(self, handle: Handler, after: Callable[[Any, Any, Any, Any], Any] | None) -> None:
        super().__init__()
        self.handle, self.after = handle, after

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in TORCH:
            return self.handle(func, args, kwargs)
        result = func(*args, **kwargs)
        return result if self.after is None else self.after(func, args, kwargs, result)


@contextlib.contextmanager
def intercepted(
    handle: Handler,
    modules: Sequence[Any] = (),
    after: Callable[[Any, Any, Any, Any], Any] | None = None,
    inside: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Hands every call of a random function of this thread to ``handle`` inside the block.

    Args:
        handle: gets the function, its arguments and its keywords, and returns the result; also of ``torch.cond``
            and of what seeds a generator.
        modules: Python modules in whose globals the functions are looked for too (``from random import random``).
        after: gets every other call of a function of torch with its result, and returns the result.
        inside: whether the call belongs to the block (other threads and tasks see the functions as they were).
    """
    places: list[tuple[dict[str, Any], str, Any]] = []
    replaced = {*_ORIGINALS, COND, *_reseeding()}
    for space in [*map(vars, _RESEEDS), *(vars(m) for m in modules)]:
        for name, value in list(space.items()):
            with contextlib.suppress(TypeError):
                if value in replaced:
                    places.append((space, name, value))

    def stand_in(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            own = str(sys._getframe(1).f_globals.get("__name__")).startswith("torch._")  # torch at work on its own
            return original(*args, **kwargs) if own or not inside() else handle(original, args, kwargs)

        call.__rr_original__ = original  # type: ignore[attr-defined]
        return call

    for space, name, original in places:
        space[name] = stand_in(original)
    try:
        with _TorchSources(handle, after):
            yield
    finally:
        for space, name, original in places:
            space[name] = original


def _reseeding() -> set[Any]:
    """The functions that reseed; torch replaces some of its own while it is imported."""
    return {getattr(home, name) for home, names in _RESEEDS.items() for name in names}


def reseeds(function: Any) -> bool:
    """Returns whether a function changes what the global generators draw, or makes another."""
    return getattr(function, "__name__", "") in {name for names in _RESEEDS.values() for name in names}


def called_in_place(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns what an intercepted function gives by itself; ``torch.cond`` calls the side that its condition says."""
    if function is not COND:
        return function(*args, **kwargs)
    condition, on_true, on_false, operands = cond_arguments(*args, **kwargs)
    return on_true(*operands) if condition else on_false(*operands)


def cond_arguments(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    """Returns the arguments of ``torch.cond`` in order."""
    return pred, true_fn, false_fn, tuple(operands)


def original_of(function: Any) -> Any:
    """Returns the random function that a stand-in stands for; other functions as they are."""
    return getattr(function, "__rr_original__", function)
