"""What belongs to the whole process: settings that code can change, and that nothing takes back after a branch."""

from __future__ import annotations

import decimal
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
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


def changed(before: World) -> Iterator[str]:
    """Yields what to call the settings that are others now."""
    after = now()
    return (name for name, value in before.items() if after[name] != value)
