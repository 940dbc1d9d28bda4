"""Compiled parts run as they were written; scripted modules are refused."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from rr_export.errors import CaptureError


def uncompiled() -> AbstractContextManager[Any]:
    """Inside, what ``torch.compile`` made runs as what it was made of."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def refuse_scripted(model: nn.Module) -> None:
    """Raises a CaptureError if a part of the model is no module of Python any more."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(
                f"{name or 'the model'}: expected modules of Python, got one that torch.jit.script or torch.jit.trace "
                "made; give the module that it was made of"
            )
