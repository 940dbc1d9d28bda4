"""Qualcomm's provider (onnxruntime-qnn), on its x86-64 emulator of the Hexagon NPU."""

from __future__ import annotations

from tests.conformance.judging import Tolerance
from tests.conformance.runner import NO_NODE, Excepted, Runner

QNN = Runner(
    "qnn",
    "qnn",
    "Hexagon NPU, emulated on x86-64",
    environment="qnn",
    setup="setup-qnn",
    exceptions=(
        Excepted("plain:default", "it takes no symbolic sizes", NO_NODE),
        Excepted(
            "ort:default", "it takes no file in onnxruntime's own format that was optimised before", "GetCapability"
        ),
    ),
    wider=Tolerance(rtol=4e-3, atol=4e-3),
    wider_reason="it computes float32 in half precision, whose numbers are 1e-3 apart",
)
