"""What belongs to the whole process: settings that code can change, and that nothing takes back after a branch."""

from __future__ import annotations

import decimal
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

World = Mapping[str, Any]


def now() -> World:
    """Returns the settings of the process, by what to call them."""
    return {
        "whether gradients are computed": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "what numpy does with errors": tuple(np.geterr().items()),
        "the context of decimal numbers": str(decimal.getcontext()),
        "the environment": dict(os.environ),
        "the working folder": os.getcwd(),
        "the filters of warnings": tuple(warnings.filters),
        "the limit of recursion": sys.getrecursionlimit(),
    }


def settings_changed(before: World) -> Iterator[str]:
    """Yields what to call the settings that are others now."""
    after = now()
    return (name for name, value in before.items() if after[name] != value)


@contextmanager
def kept() -> Iterator[None]:
    """After the block the settings are those of before, whatever the model's code did to them."""
    before = now()
    filters = warnings.filters[:]
    context = decimal.getcontext().copy()
    try:
        yield
    finally:
        for name in settings_changed(before):
            _SET[name](before[name])
        warnings.filters[:] = filters  # type: ignore[index]
        decimal.setcontext(context)


def _set_environment(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


_SET: Mapping[str, Callable[[Any], Any]] = {
    "whether gradients are computed": torch.set_grad_enabled,
    "torch's default dtype": torch.set_default_dtype,
    "what numpy does with errors": lambda items: np.seterr(**dict(items)),
    "the environment": _set_environment,
    "the working folder": os.chdir,
    "the limit of recursion": sys.setrecursionlimit,
    "the context of decimal numbers": lambda text: None,  # set as a whole, as the filters are
    "the filters of warnings": lambda filters: None,
}
