"""OpenVINO's provider (onnxruntime-openvino), on the CPU."""

from __future__ import annotations

from tests.conformance.runner import Excepted, Runner

OPENVINO = Runner(
    "openvino",
    "openvino",
    "x86-64",
    environment="openvino",
    setup="setup-openvino",
    exceptions=(
        Excepted(
            "gate*:default",
            "an ArgMax inside a branch, where it does not know the rank, does not load",
            "Exception during initialization",
        ),
    ),
)
