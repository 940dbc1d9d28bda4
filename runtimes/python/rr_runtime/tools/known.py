"""The execution providers of ONNX Runtime that a routed file can meet, and how each comes onto a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """One execution provider.

    Attributes:
        name: its short name.
        hardware: what it runs on.
        install: how it comes onto a machine.
        package: options of ``rr-export package`` that make a form for it, or "" where none is declared.
        caution: why that form does better there than a graph that decides for itself, or "".
    """

    name: str
    hardware: str
    install: str
    package: str = ""
    caution: str = ""


KNOWN = (
    Known(
        name="cpu",
        hardware="any processor",
        install="pip install onnxruntime",
        package="--target cpu",
    ),
    Known(
        name="cuda",
        hardware="NVIDIA GPUs",
        install="pip install onnxruntime-gpu, in place of onnxruntime",
        package="--target cuda",
        caution="every If waits for its condition, which such a graph computes itself",
    ),
    Known(
        name="tensorrt",
        hardware="NVIDIA GPUs",
        install="pip install onnxruntime-gpu, in place of onnxruntime, and TensorRT",
        package="--target cuda --frozen 8",
        caution="it wants static graphs",
    ),
    Known(
        name="openvino",
        hardware="Intel and AMD processors; Intel GPUs, NPUs",
        install="pip install onnxruntime-openvino, in place of onnxruntime; or onnxruntime-ep-openvino, a plugin",
        package="--target openvino",
        caution="it takes a part of the arithmetic of routes, which has 64-bit integers",
    ),
    Known(
        name="qnn",
        hardware="Qualcomm NPUs, and their emulator",
        install="pip install onnxruntime-qnn, a plugin",
        package="--target qnn",
        caution="it computes both branches of an If, or leaves it to the CPU",
    ),
    Known(
        name="webgpu",
        hardware="GPUs, through Vulkan, Metal or Direct3D",
        install="pip install onnxruntime-ep-webgpu, a plugin; or onnxruntime-webgpu, in place of onnxruntime",
        package="--target webgpu",
        caution="it takes a part of the arithmetic of routes, with copies between GPU and CPU",
    ),
    Known(
        name="xnnpack",
        hardware="Arm and x86 processors",
        install="Debian's python3-onnxruntime; on Android onnxruntime-android",
        package="--target xnnpack",
    ),
    Known(
        name="nnapi",
        hardware="Android accelerators",
        install="on Android onnxruntime-android",
        package="--target nnapi",
        caution="it takes nothing inside an If",
    ),
    Known(
        name="coreml",
        hardware="Apple processors, GPUs, NPUs",
        install="pip install onnxruntime on macOS; on iOS onnxruntime-objc",
        package="--target coreml",
    ),
    Known(
        name="ggml",
        hardware="processors and GPUs, through ggml",
        install="pip install onnxruntime-ggml, a plugin",
    ),
)
BY_NAME = {known.name: known for known in KNOWN}
