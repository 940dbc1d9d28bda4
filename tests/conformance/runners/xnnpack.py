"""XNNPACK's provider, in Debian's build of ONNX Runtime, on x86-64 and on 64-bit Arm."""

from __future__ import annotations

from tests.conformance.runner import NO_NODE, Excepted, Runner

EXCEPTIONS = (
    Excepted(
        "images:default",
        "a convolution whose weights lie outside its branch does not load; the target xnnpack has them inside",
        "TryGetConstantInput",
    ),
    Excepted("convs:default", "the same, and it ends the process", "process died|TryGetConstantInput"),
    Excepted("gate*:default", "a Gemm without a bias ends the process, wherever it stands", "process died"),
    Excepted("int8:default", "it takes no products that are quantised as they run", NO_NODE),
    Excepted("whole:default", "it computes no whole numbers", NO_NODE),
)
XNNPACK = Runner("xnnpack", "xnnpack", "x86-64", environment="xnnpack", setup="setup-xnnpack", exceptions=EXCEPTIONS)
XNNPACK_AARCH64 = Runner(
    "xnnpack-aarch64",
    "xnnpack",
    "64-bit Arm (by qemu-user)",
    environment="xnnpack-aarch64",
    setup="setup-xnnpack-aarch64",
    exceptions=EXCEPTIONS,
)
