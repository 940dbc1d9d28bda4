"""What runs files: onnxruntime, with and without its optimisations, and OpenVINO; their failures are one error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Sequence[str], Arrays], list[NDArray[Any]]]


class UnusableError(Exception):
    """The file fails loudly: it does not load, or a run raises.

    Attributes:
        stage: "load" or "run".
    """

    def __init__(self, stage: str, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.stage = stage


def open_file(source: Path | bytes, engine: str) -> Run:
    """Returns the function that runs a file, from names of outputs and inputs to outputs.

    Raises:
        UnusableError: it does not load.
    """
    try:
        opened = _open_openvino(source) if engine == "openvino" else _open_onnxruntime(source, engine)
    except Exception as error:  # engines' own exceptions have no common base
        raise UnusableError("load", error) from error

    def run(names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        try:
            return opened(names, feeds)
        except Exception as error:
            raise UnusableError("run", error) from error

    return run


def _open_onnxruntime(source: Path | bytes, engine: str) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if engine == "onnxruntime unoptimised":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = source if isinstance(source, bytes) else str(source)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda names, feeds: session.run(list(names), dict(feeds))


def _open_openvino(source: Path | bytes) -> Run:
    import openvino

    model = openvino.Core().read_model(source)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        results = compiled(dict(feeds))
        found = {name: results[port] for port in compiled.outputs for name in port.get_names()}
        return [np.array(found[name]) for name in names]

    return run
