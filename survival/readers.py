"""Engines other than ONNX Runtime that read the file themselves."""

from __future__ import annotations

from pathlib import Path

from survival.rewriters import copy
from survival.tool import Tolerance, Tool

OPENVINO = ("openvino",)
FLOATS = Tolerance(rtol=1e-3, atol=1e-4)  # another engine's sums


def _to_ir(source: Path, target: Path) -> None:
    import openvino

    openvino.save_model(openvino.convert_model(source), target, compress_to_fp16=False)


READERS = (
    Tool(
        "openvino",
        OPENVINO,
        "Core().compile_model on the file",
        copy,
        kind="reader",
        engine="openvino",
        tolerance=FLOATS,
    ),
    Tool(
        "openvino IR",
        OPENVINO,
        "convert_model, save_model(compress_to_fp16=False), read back",
        _to_ir,
        kind="reader",
        engine="openvino",
        suffix=".xml",
        tolerance=FLOATS,
    ),
)
