"""Packages with compiled parts can be imported beside a torch that these were not made for; models need none of them.

The wheels of torchvision and torchaudio on the index want torch with CUDA.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from typing import Any

import torch


def imported(name: str) -> Any:
    """Returns a module of a package."""
    _prepare_torchvision()
    _prepare_torchaudio()
    return importlib.import_module(name)


def _prepare_torchvision() -> None:
    if _is_imported("torchvision"):
        return
    for operator in ("nms", "qnms"):  # those that it wants before it looks whether they are there
        _LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    importlib.import_module("torchvision")


def _prepare_torchaudio() -> None:
    if _is_imported("torchaudio"):
        return
    stub: Any = types.ModuleType("torchaudio._extension")
    stub._IS_TORCHAUDIO_EXT_AVAILABLE, stub.fail_if_no_align = False, lambda function: function
    sys.modules[stub.__name__] = stub
    importlib.import_module("torchaudio")


def _is_imported(package: str) -> bool:
    if package in sys.modules:
        return True
    with contextlib.suppress(RuntimeError, OSError):
        importlib.import_module(package)
        return True
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        del sys.modules[name]
    return False


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
