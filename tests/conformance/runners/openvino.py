"""OpenVINO's provider (onnxruntime-openvino), on the CPU."""

from __future__ import annotations

from tests.conformance.runner import Runner

OPENVINO = Runner("openvino", "openvino", "x86-64", environment="openvino", setup="setup-openvino")
