"""The options that providers get: the table, and what callers put over it."""

from __future__ import annotations

from typing import Any

import pytest

from rr_runtime.provider_options import SETTINGS, captures_graphs, check_heeded, options_of, thread_options
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


def test_only_a_provider_with_threads_of_its_own_is_told_how_many() -> None:
    assert thread_options("OpenVINOExecutionProvider", 3) == {"num_of_threads": "3"}
    assert thread_options("CUDAExecutionProvider", 3) is None


@pytest.mark.parametrize(
    ("provider", "given", "asked"),
    [
        ("CUDAExecutionProvider", {"enable_cuda_graph": "1"}, True),
        ("CUDAExecutionProvider", {"enable_cuda_graph": "True"}, True),
        ("CUDAExecutionProvider", {"enable_cuda_graph": "0"}, False),
        ("CUDAExecutionProvider", None, False),
        ("CUDAExecutionProvider", "enable_cuda_graph=1", False),  # refused as options of another type, later
        ("CPUExecutionProvider", {"enable_cuda_graph": "1"}, False),
    ],
)
def test_cuda_graphs_are_captured_where_they_are_asked_for(provider: str, given: Any, asked: bool) -> None:
    assert captures_graphs(provider, given) is asked


def test_options_that_are_not_heeded_are_found() -> None:
    check_heeded({"htp_arch": "73", "soc_model": "69"}, {"htp_arch": "73"}, "qnn")
    check_heeded({}, None, "qnn")
    with pytest.raises(ValueError, match=r"^provider_options: expected vtcm_mb=8, got session_options that have qnn"):
        check_heeded({"htp_arch": "73"}, {"vtcm_mb": "8"}, "qnn")
