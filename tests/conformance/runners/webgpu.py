"""The native WebGPU provider (onnxruntime-webgpu), on SwiftShader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.conformance.runner import Excepted, Runner


def takes(name: str, entry: Mapping[str, Any]) -> bool:
    """Tells whether a target is run: that for CUDA is the same form (gates; its file differs in the name only)."""
    return entry["provider"] in ("webgpu", "cuda")


WEBGPU = Runner(
    "webgpu",
    "webgpu",
    "SwiftShader on x86-64",
    environment="webgpu",
    setup="setup-webgpu",
    targets=takes,
    exceptions=(
        Excepted(
            "ort:default",
            "in onnxruntime's own format, its nodes are given values that lie on the CPU",
            r"must be tensors on WebGPU buffers|WebGpuContext::Run",
        ),
        Excepted(("half:*", "*:cuda-half"), "SwiftShader has no numbers of 16 bits; GPUs have", "requires f16"),
    ),
)
