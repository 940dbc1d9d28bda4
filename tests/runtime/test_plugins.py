"""Plugin providers: found, registered once, and never without a device."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

import rr_runtime
from rr_runtime import ProviderError, plugins
from rr_runtime.provider_options import options_of
from rr_runtime.providers import PROBE, create_session, find_provider

PROVIDERS = sys.modules["rr_runtime.providers"]  # the package has a function of this name


class Plugin:
    """A plugin package that onnxruntime can load, with as many devices as `devices`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "QNNExecutionProvider") -> None:
        self.name, self.devices, self.error = name, 1, ""
        self.loaded: list[tuple[str, str]] = []
        module = types.ModuleType("pretended_plugin")
        module.__spec__ = SimpleNamespace()  # type: ignore[assignment]
        module.get_library_path = lambda: "plugin.so"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pretended_plugin", module)
        monkeypatch.setattr(plugins, "PLUGINS", {name: ("pretended_plugin", "pretended-plugin")})
        monkeypatch.setattr(PROVIDERS, "PLUGINS", plugins.PLUGINS)
        monkeypatch.setattr(plugins, "_LOADED", set())
        monkeypatch.setattr(onnxruntime, "register_execution_provider_library", self.load, raising=False)
        monkeypatch.setattr(onnxruntime, "get_ep_devices", self.found, raising=False)

    def load(self, name: str, library: str) -> None:
        if self.error:
            raise RuntimeError(self.error)
        self.loaded.append((name, library))

    def found(self) -> list[Any]:
        device = SimpleNamespace(ep_name=self.name, ep_metadata={"library_path": "plugin.so"})
        cpu = SimpleNamespace(ep_name="CPUExecutionProvider", ep_metadata={"version": "1"})
        return [cpu] + [device] * (self.devices if self.loaded else 0)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Plugin:
    return Plugin(monkeypatch)


@pytest.mark.parametrize("name", ["qnn", "QNNExecutionProvider"])
def test_plugin_is_registered_once(plugin: Plugin, name: str) -> None:
    assert plugins.installed_plugins() == ["QNNExecutionProvider"]
    assert plugins.plugin_devices("QNNExecutionProvider") == []
    assert [find_provider(name) for _ in range(2)] == ["QNNExecutionProvider"] * 2
    assert plugin.loaded == [("QNNExecutionProvider", "plugin.so")]
    assert len(plugins.plugin_devices("QNNExecutionProvider")) == 1
    assert plugins.plugin_devices("CPUExecutionProvider") == []


def test_plugin_that_does_not_load_is_refused(plugin: Plugin) -> None:
    plugin.error = "needs API version 99\n"
    message = r"^provider: expected pretended-plugin to load, got RuntimeError: needs API version 99; install versions"
    with pytest.raises(ProviderError, match=message):
        find_provider("qnn")
    assert "qnn" not in rr_runtime.providers()


def test_plugin_without_a_device_is_refused(plugin: Plugin) -> None:
    plugin.devices = 0
    for _ in range(2):
        with pytest.raises(ProviderError, match=r"^provider: expected a device for pretended-plugin, got none on this"):
            find_provider("qnn")
    assert len(plugin.loaded) == 1


def test_absent_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "installed_plugins", list)
    monkeypatch.setattr(PROVIDERS, "installed_plugins", list)
    with pytest.raises(ProviderError, match=r"got 'ggml'; install onnxruntime-ggml or a build of onnxruntime that has"):
        find_provider("ggml")


def test_plugin_is_added_to_the_options_once(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its devices go into the session options; options that have them already keep them, or are refused."""
    added: list[Any] = []

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_provider_for_devices(self, devices: Any, settings: Any) -> None:
            added.append((len(devices), settings))

        def has_providers(self) -> bool:
            return bool(added)

    class OnPlugin(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: Any, options: Any = None, **_: Any) -> None:
            super().__init__(model, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return ["QNNExecutionProvider", "CPUExecutionProvider"]

        def get_provider_options(self) -> dict[str, Any]:
            return {"QNNExecutionProvider": added[0][1]}

    monkeypatch.setattr(onnxruntime, "InferenceSession", OnPlugin)
    monkeypatch.setattr(PROVIDERS, "nodes_on", lambda *_: None)
    plugin.devices = 2
    provider, options = find_provider("qnn"), Options()
    for _ in range(2):
        create_session(PROBE, provider, options, reseed=False, provider_options={"htp_arch": "73"})
    assert added == [(1, options_of(provider, {"htp_arch": "73"}))]
    message = (
        r"^provider_options: expected htp_arch=75, got session_options that have qnn with htp_arch=73 already; pass new"
    )
    with pytest.raises(ValueError, match=message):
        create_session(PROBE, provider, options, reseed=False, provider_options={"htp_arch": "75"})
