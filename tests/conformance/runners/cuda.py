"""CUDA's provider, where this Python has onnxruntime-gpu and a GPU."""

from __future__ import annotations

from tests.conformance.runner import Runner

CUDA = Runner("cuda", "cuda", "a GPU", setup="install onnxruntime-gpu on a machine with a GPU")
