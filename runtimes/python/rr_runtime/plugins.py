"""Execution providers that come as packages of their own: found, and registered with onnxruntime when asked for.

Such a package holds a library, and onnxruntime offers its provider only after it was told to load it. onnxruntime
before 1.23 cannot.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Sequence
from typing import Any

import onnxruntime

from rr_runtime.errors import ProviderError

# onnxruntime's name of a provider, the module that brings it, and the package to install.
PLUGINS = {
    "OpenVINOExecutionProvider": ("onnxruntime_ep_openvino", "onnxruntime-ep-openvino"),
    "QNNExecutionProvider": ("onnxruntime_qnn", "onnxruntime-qnn"),
    "WebGpuExecutionProvider": ("onnxruntime_ep_webgpu", "onnxruntime-ep-webgpu"),
    "ggml": ("onnxruntime_ggml", "onnxruntime-ggml"),
}

_REGISTERING = threading.Lock()
_LOADED: set[str] = set()  # onnxruntime loads a library once in a process


def installed_plugins() -> list[str]:
    """Returns onnxruntime's names of the providers that plugins on this machine bring, registered or not."""
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        return []
    found = [name for name, (module, _) in PLUGINS.items() if importlib.util.find_spec(module) is not None]
    return found + [name for name in _registered() if name not in found]


def plugin_devices(provider: str) -> list[Any]:
    """Returns the devices of a plugin that is registered; none for what is built into onnxruntime."""
    return _registered().get(provider, [])


def register_plugin(provider: str) -> None:
    """The plugin of the provider is registered with onnxruntime, for this whole process, and has a device.

    Args:
        provider: one of `installed_plugins()`.

    Raises:
        ProviderError: its library does not load, or finds no device here.
    """
    with _REGISTERING:
        if plugin_devices(provider):
            return
        module, package = PLUGINS[provider]
        if provider not in _LOADED:
            try:
                plugin: Any = importlib.import_module(module)
                library = getattr(plugin, "get_library_path", None) or plugin.library_path
                onnxruntime.register_execution_provider_library(provider, library())
            except Exception as error:
                raise ProviderError(
                    f"provider: expected {package} to load, got {type(error).__name__}: {str(error).strip()}; "
                    "install versions of it and of onnxruntime that fit together"
                ) from error
            _LOADED.add(provider)
        if not plugin_devices(provider):
            raise ProviderError(
                f"provider: expected a device for {package}, got none on this machine; check its driver, "
                "or pass another provider"
            )


def _registered() -> dict[str, list[Any]]:
    """The devices of the plugins that are registered, by provider; onnxruntime's own providers have no library."""
    devices: Sequence[Any] = getattr(onnxruntime, "get_ep_devices", list)()
    found: dict[str, list[Any]] = {}
    for device in devices:
        if "library_path" in device.ep_metadata:
            found.setdefault(device.ep_name, []).append(device)
    return found
