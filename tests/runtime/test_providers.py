"""Execution providers: what is available is told truly, and nothing falls back silently."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest

import rr_runtime
from rr_runtime import BundleError, ProviderError, RuntimeFailure, Session
from rr_runtime.providers import PROBE, create_session, find_provider, short_name

from . import handmade

# On a machine whose onnxruntime has more than the CPU, these tests still hold: they ask for what it has not.
BUILT = onnxruntime.get_available_providers()
ABSENT = next(p for p in ("CUDAExecutionProvider", "CoreMLExecutionProvider", "QNNExecutionProvider") if p not in BUILT)
SHORT = short_name(ABSENT)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime says that it has a provider, and makes CPU sessions: what a GPU build does without a driver."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ABSENT, *BUILT])
    warnings.filterwarnings("ignore", f"Specified provider '{ABSENT}' is not in available provider names", UserWarning)


class FailingSession(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session that cannot be made on the absent provider, as where its library does not load."""

    def __init__(self, model: Any, options: Any = None, *, providers: Any, **rest: Any) -> None:
        if providers[0] == ABSENT:
            raise RuntimeError("libdriver.so: cannot open shared object file\n")
        super().__init__(model, options, providers=providers, **rest)


def test_cpu_is_there() -> None:
    assert "cpu" in rr_runtime.providers()
    assert SHORT not in rr_runtime.providers()
    assert set(rr_runtime.providers()) <= {short_name(provider) for provider in BUILT}


def test_remote_provider_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", *BUILT])
    assert "azure" not in rr_runtime.providers()
    with pytest.raises(ProviderError, match=r"^provider: expected one of .*cpu.*, got 'azure'; pass one of these$"):
        find_provider("azure")


@pytest.mark.usefixtures("pretended")
def test_provider_that_only_pretends_is_not_listed() -> None:
    assert SHORT not in rr_runtime.providers()


def test_provider_that_fails_is_not_listed(pretended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FailingSession)
    assert SHORT not in rr_runtime.providers()


def test_probe_is_a_valid_model() -> None:
    model = onnx.load_from_string(PROBE)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    session = create_session(PROBE, "CPUExecutionProvider", None, reseed=False)
    x = np.array([[5, 6]], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [[23, 34]])


@pytest.mark.parametrize("name", ["cpu", "CPUExecutionProvider"])
def test_both_names_are_taken(bundles: dict[str, Path], name: str) -> None:
    session = Session(bundles["explicit"], provider=name)
    assert session.provider == "cpu"
    assert session.run(handmade.example(), seed=7).seed == 7


@pytest.mark.parametrize("name", [SHORT, ABSENT])
def test_absent_provider_is_refused(bundles: dict[str, Path], name: str) -> None:
    message = (
        rf"^provider: expected one of .*cpu.*, got '{name}'; install a build of onnxruntime that has it, or pass one"
    )
    with pytest.raises(ProviderError, match=message):
        Session(bundles["explicit"], provider=name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("CPU", "did you mean 'cpu'"),
        ("cdua", "did you mean 'cuda'"),
        ("cudaExecutionProvider", "did you mean 'cuda'"),
        ("", "pass one of these"),
        ("abacus", "pass one of these"),
    ],
)
def test_unknown_provider_is_refused(bundles: dict[str, Path], name: str, advice: str) -> None:
    with pytest.raises(ProviderError, match=rf"^provider: expected one of .*cpu.*, got '{name}'; {advice}"):
        Session(bundles["explicit"], provider=name)


@pytest.mark.parametrize("provider", [None, ["cpu"], 0])
def test_provider_of_another_type_is_refused(bundles: dict[str, Path], provider: Any) -> None:
    with pytest.raises(TypeError, match=r"^provider: expected a name such as 'cpu', got \w+ .*; pass a string"):
        Session(bundles["explicit"], provider=provider)


def test_provider_is_checked_before_the_file_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ProviderError):
        Session(tmp_path / "nothing", provider=SHORT)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("interface", ["explicit", "standalone"])
def test_silent_fall_back_is_refused(bundles: dict[str, Path], interface: str) -> None:
    message = (
        rf"model\.onnx: expected a session on {SHORT}, got a session on cpu; check its driver .*, or pass one of .*cpu"
    )
    with pytest.raises(ProviderError, match=message):
        Session(bundles[interface], provider=SHORT)


def test_failing_provider_is_blamed(pretended: None, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FailingSession)
    message = rf"model\.onnx: expected a session on {SHORT}, got RuntimeError: libdriver\.so: .* file; check its driver"
    with pytest.raises(ProviderError, match=message):
        Session(bundles["explicit"], provider=SHORT)


def test_damaged_file_is_blamed_on_every_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cut.onnx"
    file.write_bytes(b"hello")
    monkeypatch.setattr(onnxruntime, "InferenceSession", FailingSession)
    for provider in (ABSENT, "CPUExecutionProvider"):
        with pytest.raises(BundleError, match=r"cut\.onnx: expected an ONNX model that onnxruntime .* loads, got: "):
            create_session(file, provider, None, reseed=False)


def test_run_does_not_fall_back(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(bundles["explicit"])
    inner = session._session
    working = inner._sess

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(working, name)

        def run(self, *_: Any) -> Any:
            raise onnxruntime.capi.onnxruntime_pybind11_state.EPFail("the device is gone")

    monkeypatch.setattr(inner, "_sess", Failing())
    with pytest.raises(RuntimeFailure, match=r"explicit: expected a run on cpu, got: the device is gone; "):
        session.run(handmade.example())
    assert inner._enable_fallback is False


def test_cpu_stands_behind_the_asked_provider(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Recording(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: Any, options: Any = None, *, providers: Any, **rest: Any) -> None:
            asked.append(providers)
            super().__init__(model, options, providers=["CPUExecutionProvider"], **rest)

        def get_providers(self) -> list[str]:
            return list(asked[-1])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ABSENT, *BUILT])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Recording)
    assert Session(bundles["explicit"], provider=SHORT).provider == SHORT
    assert Session(bundles["explicit"]).provider == "cpu"
    assert asked == [[ABSENT, "CPUExecutionProvider"], ["CPUExecutionProvider"]]
