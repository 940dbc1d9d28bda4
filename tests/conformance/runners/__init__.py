"""One adapter per execution provider, each with its own exceptions; ``RUNNERS`` is the order of the table's columns."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.runner import Runner
from tests.conformance.runners.aarch64 import AARCH64
from tests.conformance.runners.cpp import CPP
from tests.conformance.runners.cpu import CPU
from tests.conformance.runners.cuda import CUDA
from tests.conformance.runners.ggml import GGML
from tests.conformance.runners.openvino import OPENVINO
from tests.conformance.runners.qnn import QNN
from tests.conformance.runners.webgpu import WEBGPU
from tests.conformance.runners.xnnpack import XNNPACK, XNNPACK_AARCH64

_ALL = (CPU, CPP, AARCH64, OPENVINO, QNN, WEBGPU, XNNPACK, XNNPACK_AARCH64, GGML, CUDA)
RUNNERS: Mapping[str, Runner] = {runner.name: runner for runner in _ALL}
