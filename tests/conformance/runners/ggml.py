"""The provider of ggml (onnxruntime-ep-ggml), on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.conformance.judging import Tolerance
from tests.conformance.runner import NO_NODE, Excepted, Runner


def takes(name: str, entry: Mapping[str, Any]) -> bool:
    """Tells whether a target is run: ggml has none of its own, and takes gates or draws that the host made."""
    return entry["provider"] in ("cuda", "openvino") and entry["form"] == "routed"


GGML = Runner(
    "ggml",
    "ggml",
    "x86-64",
    environment="ggml",
    setup="setup-ggml",
    targets=takes,
    exceptions=(
        Excepted(
            tuple(f"{case}:*" for case in ("dynamic", "static", "gru", "images")),
            "it takes a graph whole or not at all, and lacks an operator of this one",
            NO_NODE,
        ),
        Excepted(
            ("[!ph]*:default", "parameter:default", "half:default"),
            "it takes a graph whole or not at all, and has no arithmetic of 64 bits, with which a file draws by itself",
            NO_NODE,
        ),
        Excepted(
            "int8:cuda",
            "it claims products that are quantised as they run, and then has no kernel for them",
            "unsupported: DynamicQuantizeLinear",
        ),
    ),
    wider=Tolerance(rtol=2e-3, atol=2e-3),
    wider_reason="it keeps weights in half precision",
)
