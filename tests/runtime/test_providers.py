"""Execution providers: what is available is told truly, and nothing falls back silently."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest

import rr_runtime
from rr_runtime import BundleError, ProviderError, RuntimeFailure, Session
from rr_runtime.provider_options import options_of
from rr_runtime.providers import PROBE, create_session, find_provider, nodes_on, short_name

from . import handmade

# On a machine whose onnxruntime has more than the CPU, these tests still hold: they ask for what it has not.
BUILT = onnxruntime.get_available_providers()
ABSENT = next(p for p in ("CUDAExecutionProvider", "CoreMLExecutionProvider", "QNNExecutionProvider") if p not in BUILT)
SHORT = short_name(ABSENT)
PROVIDERS = sys.modules["rr_runtime.providers"]  # the package has a function of this name


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
        rf"model\.onnx: expected a session on {SHORT} with .*, got a session on cpu; "
        r"check its driver, libraries and options .*, or pass one of .*cpu"
    )
    with pytest.raises(ProviderError, match=message):
        Session(bundles[interface], provider=SHORT)


def test_failing_provider_is_blamed(pretended: None, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FailingSession)
    message = (
        rf"model\.onnx: expected a session on {SHORT} .*, got RuntimeError: libdriver\.so: .* file; check its driver"
    )
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
    inner: Any = session._engine._session  # type: ignore[attr-defined]
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
            super().__init__(model, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return list(asked[-1])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ABSENT, *BUILT])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Recording)
    monkeypatch.setattr(PROVIDERS, "nodes_on", lambda *_: None)
    assert Session(bundles["explicit"], provider=SHORT).provider == SHORT
    assert Session(bundles["explicit"]).provider == "cpu"
    assert asked == [[ABSENT, "CPUExecutionProvider"], ["CPUExecutionProvider"]]


def test_options_reach_the_provider(pretended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Recording(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: Any, options: Any = None, *, provider_options: Any, **rest: Any) -> None:
            asked.append(provider_options)
            super().__init__(model, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return [ABSENT]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recording)
    monkeypatch.setattr(PROVIDERS, "nodes_on", lambda *_: None)
    create_session(PROBE, ABSENT, None, reseed=False, provider_options={"device_id": "1"})
    assert asked == [[options_of(ABSENT, None) | {"device_id": "1"}, {}]]


def test_nodes_are_counted() -> None:
    """A CPU session says nothing of itself where nobody asked onnxruntime to record, and all where it was asked."""
    assert nodes_on(create_session(PROBE, "CPUExecutionProvider", None, reseed=False), "CPUExecutionProvider") is None
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = create_session(PROBE, "CPUExecutionProvider", options, reseed=False)
    told = hasattr(session, "get_provider_graph_assignment_info")
    assert nodes_on(session, "CPUExecutionProvider") == (1 if told else None)
    assert nodes_on(session, ABSENT) == (0 if told else None)


class Everywhere(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session that says to be on the absent provider, and has no node there unless `takes` says so."""

    takes: Callable[[Any], int]

    def __init__(self, model: Any, options: Any = None, **_: Any) -> None:
        super().__init__(model, options, providers=["CPUExecutionProvider"])
        self.model = model

    def get_providers(self) -> list[str]:
        return [ABSENT, "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        count = type(self).takes(self.model)
        parts = [("CPUExecutionProvider", 5 - count), (ABSENT, count)]
        return [SimpleNamespace(ep_name=name, get_nodes=lambda n=n: [None] * n) for name, n in parts]


def test_provider_that_takes_nothing_at_all_is_refused(
    pretended: None, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As QNN does where its backend does not load: the session is there, and every node is on the CPU."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", Everywhere)
    monkeypatch.setattr(Everywhere, "takes", staticmethod(lambda model: 0), raising=False)
    message = (
        rf"model\.onnx: expected a session on {SHORT} with .*backend_type=cpu, got a session without a single node"
    )
    with pytest.raises(ProviderError, match=message):
        create_session(
            bundles["explicit"] / "model.onnx", ABSENT, None, reseed=False, provider_options={"backend_type": "cpu"}
        )
    assert SHORT not in rr_runtime.providers()


def test_provider_that_takes_nothing_of_a_file_is_told(
    pretended: None, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", Everywhere)
    monkeypatch.setattr(Everywhere, "takes", staticmethod(lambda model: int(model == PROBE)), raising=False)
    with caplog.at_level(logging.WARNING, "rr_runtime"):
        create_session(bundles["explicit"] / "model.onnx", ABSENT, None, reseed=False)
    assert [record.getMessage() for record in caplog.records] == [
        f"{bundles['explicit'] / 'model.onnx'}: {SHORT} takes no node of it; all run on cpu"
    ]
    caplog.clear()
    monkeypatch.setattr(Everywhere, "takes", staticmethod(lambda model: 3), raising=False)
    create_session(bundles["explicit"] / "model.onnx", ABSENT, None, reseed=False)
    assert not caplog.records


ENGINES = {"openvino": "openvino", "qnn": "qnn", "webgpu": "webgpu", "ggml": "ggml", "xnnpack": "xnnpack"}
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_is_found_and_takes_nodes(engine: str) -> None:
    """The real engine, where `make setup-<name>` has set it up."""
    run = REPOSITORY / ".providers" / engine / "run"
    if not run.exists():
        pytest.skip(f"not set up; run: make setup-{engine}")
    program = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "runtimes/python")!r})
import numpy as np
from rr_runtime import providers
from rr_runtime.providers import PROBE, create_session, find_provider, nodes_on
provider = find_provider({ENGINES[engine]!r})
session = create_session(PROBE, provider, None, reseed=False)
result = session.run(None, {{"x": np.array([[5, 6]], np.float32)}})[0]
print(providers()[-1], {ENGINES[engine]!r} in providers(), nodes_on(session, provider) in (1, None), result.round())
"""
    done = subprocess.run([run, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "cpu True True [[23. 34.]]\n", done.stderr[-2000:]


def test_backend_that_does_not_load_is_refused() -> None:
    """QNN without its CPU library makes a session and leaves every node to the CPU."""
    run = REPOSITORY / ".providers" / "qnn" / "run"
    if not run.exists():
        pytest.skip("not set up; run: make setup-qnn")
    program = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "runtimes/python")!r})
from rr_runtime import ProviderError
from rr_runtime.providers import PROBE, create_session, find_provider
try:
    create_session(PROBE, find_provider("qnn"), None, reseed=False, provider_options={{"backend_type": "cpu"}})
except ProviderError as error:
    print(error)
"""
    done = subprocess.run([run, "-c", program], capture_output=True, text=True, timeout=120)
    assert "qnn with backend_type=cpu, soc_model=69, got a session without a single node on it" in done.stdout
