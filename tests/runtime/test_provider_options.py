"""The options that providers get: the table, and what callers put over it."""

from __future__ import annotations

from typing import Any

import pytest

from rr_runtime.provider_options import SETTINGS, options_of
from rr_runtime.providers import PROBE, create_session


def test_settings_each_have_a_reason_and_are_set_once() -> None:
    assert len({(s.provider, s.option, s.machines) for s in SETTINGS}) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.reason and setting.value
        assert setting.provider.endswith("ExecutionProvider")


def test_given_options_go_over_the_table() -> None:
    assert options_of("OpenVINOExecutionProvider", None)["precision"] == "FP32"
    chosen = options_of("OpenVINOExecutionProvider", {"precision": "ACCURACY", "num_streams": "1"})
    assert chosen == {"device_type": "CPU", "precision": "ACCURACY", "num_streams": "1"}
    assert options_of("CPUExecutionProvider", None) == options_of("CPUExecutionProvider", {}) == {}


@pytest.mark.parametrize(("machine", "told"), [("x86_64", True), ("AMD64", True), ("aarch64", False)])
def test_only_the_emulator_is_told_its_chip(monkeypatch: pytest.MonkeyPatch, machine: str, told: bool) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert ("soc_model" in options_of("QNNExecutionProvider", None)) is told


@pytest.mark.parametrize("given", [{"device_id": 0}, {0: "0"}, [("device_id", "0")], "device_id=0"])
def test_options_of_another_type_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^provider_options: expected strings by name, such as .*, got .*; write num"):
        options_of("CUDAExecutionProvider", given)


def test_options_for_the_cpu_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^provider_options: expected none for cpu, got device_id; use threads or "):
        create_session(PROBE, "CPUExecutionProvider", None, reseed=False, provider_options={"device_id": "0"})
