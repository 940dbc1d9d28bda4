"""Models -> ONNX files -> cases to time, the same way for both sides of a comparison."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rr_export as rr
from rr_export.lowering import PATH, SEED
from rr_runtime.tools.timing import Case, session_options

OPSET = 20
CLOCK = "CPU time"  # of the one thread that computes: other processes do not count
# Slower by a tenth and more on x86, and possible in different places on the two sides.
DISABLED = ["SkipLayerNormFusion"]


def save_stock(model: nn.Module, args: tuple[Tensor, ...], file: Path) -> Path:
    """The model is at ``file``, as ``torch.onnx.export`` writes it; returns the file."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch 2.13 warns from inside its own exporter
        program = torch.onnx.export(model, args, dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    program.save(file, external_data=False)
    return file


def save_routed(model: nn.Module, args: tuple[Tensor, ...], file: Path) -> Path:
    """The routed model is at ``file``; returns the file."""
    return rr.export(model, args, opset=OPSET).save(file, external_data=False)


def open_file(source: Path | bytes) -> onnxruntime.InferenceSession:
    """Returns a session with one thread."""
    content = source if isinstance(source, bytes) else str(source)
    return onnxruntime.InferenceSession(
        content, session_options(1), providers=["CPUExecutionProvider"], disabled_optimizers=DISABLED
    )


def stock_case(session: onnxruntime.InferenceSession, *arrays: NDArray[Any]) -> Case:
    """Returns one run of a session on these inputs, in order."""
    feeds = {node.name: array for node, array in zip(session.get_inputs(), arrays, strict=True)}
    return lambda: session.run(None, feeds)


def routed_case(session: onnxruntime.InferenceSession, path: Sequence[int], *arrays: NDArray[Any]) -> Case:
    """Returns one run of a routed session on these inputs and this path."""
    own = [node.name for node in session.get_inputs() if node.name not in (SEED, PATH)]
    feeds: Mapping[str, NDArray[Any]] = {
        **dict(zip(own, arrays, strict=True)),
        SEED: np.array(0),
        PATH: np.array(path, dtype=np.int64),
    }
    return lambda: session.run(None, feeds)
