"""The C++ runtime, on ONNX Runtime's CPU provider: every case and every target."""

from __future__ import annotations

from tests.conformance.runner import Excepted, Runner

AGENT = "build/cpp/rr_agent"

CPP = Runner(
    "cpp",
    "cpu",
    "x86-64, the C++ runtime",
    setup="test-cpp",
    agent=(AGENT,),
    built=AGENT,
    targets=lambda name, entry: True,
    exceptions=(
        Excepted(
            "standalone:*",
            "ONNX Runtime's C interface cannot set the seed of its random nodes, so standalone files are refused",
            "expected a file that takes seeds",
        ),
    ),
)
