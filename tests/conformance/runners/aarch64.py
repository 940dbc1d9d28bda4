"""The CPU provider on 64-bit Arm: the real aarch64 build, under qemu-user."""

from __future__ import annotations

from tests.conformance.runner import Runner

AARCH64 = Runner(
    "aarch64",
    "cpu",
    "64-bit Arm (Cortex-A72 by qemu-user)",
    environment="aarch64",
    setup="setup-aarch64",
    targets=lambda name, entry: True,
)
