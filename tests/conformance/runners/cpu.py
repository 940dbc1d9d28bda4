"""ONNX Runtime's CPU provider: runs every case and every target, whatever provider a target is made for."""

from __future__ import annotations

from tests.conformance.runner import Runner

CPU = Runner("cpu", "cpu", "x86-64", targets=lambda name, entry: True)
