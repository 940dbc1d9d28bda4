"""Which execution providers this machine has, and sessions that really are on the asked one."""

from __future__ import annotations

import contextlib
import difflib
import logging
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from rr_runtime.bundle import check_texts, unreadable
from rr_runtime.errors import ProviderError
from rr_runtime.plugins import PLUGINS, installed_plugins, plugin_devices, register_plugin
from rr_runtime.provider_options import CPU, check_heeded, options_of

SUFFIX = "ExecutionProvider"
# Calls a remote service and runs no node of a file: a session on it would be one on the CPU.
REMOTE = "AzureExecutionProvider"

# A model of one MatMul of float32 [1, 2] with a constant, opset 13: what each provider is tried with, as all take it.
PROBE = bytes.fromhex(
    "08083a5d0a110a01780a017712017922064d61744d756c1201612a1b0802080210014201774a100000803f000000400000404000008040"
    "5a130a0178120e0a0c080112080a0208010a02080262130a0179120e0a0c080112080a0208010a02080242040a00100d"
)
RECORD = "session.record_ep_graph_assignment_info"

# onnxruntime has one random seed per process, and a session's random nodes take it while it is made.
_SEEDING = threading.Lock()
_LOG = logging.getLogger(__name__)


def providers() -> tuple[str, ...]:
    """Returns the short names of the execution providers that work on this machine, such as ("cuda", "cpu").

    Each provider that onnxruntime was built with, or that an installed plugin brings, is tried with a model of one
    node, as a build for a GPU says nothing about a driver or a device. That can take seconds on a GPU, and some
    providers print their reasons to stderr. Plugins are registered with onnxruntime.
    """
    return tuple(short_name(name) for name in _present() if name == CPU or _works(name))


def short_name(provider: str) -> str:
    """Returns the short name of a provider: "cuda" for "CUDAExecutionProvider"."""
    return provider.removesuffix(SUFFIX).lower()


def find_provider(name: str) -> str:
    """Returns onnxruntime's name of a provider, from that name or from the short one; its plugin is registered.

    Raises:
        TypeError: the name is no string.
        ProviderError: onnxruntime was built without it and has no plugin for it, or does not know it, or its plugin
            does not load.
    """
    if not isinstance(name, str):
        raise TypeError(f"provider: expected a name such as 'cpu', got {type(name).__name__} {name!r}; pass a string")
    for provider in _present():
        if name in (provider, short_name(provider)):
            _register(provider)
            return provider
    known = {p for p in onnxruntime.get_all_providers() if p != REMOTE} | set(PLUGINS)
    near = difflib.get_close_matches(
        name.lower().removesuffix(SUFFIX.lower()), map(short_name, known), n=1, cutoff=0.75
    )
    asked = next((p for p in known if name in (p, short_name(p))), None)
    if asked in PLUGINS:
        advice = f"install {PLUGINS[asked][1]} or a build of onnxruntime that has it, or pass one of these"
    elif asked is not None:
        advice = "install a build of onnxruntime that has it, or pass one of these"
    else:
        advice = f"did you mean {near[0]!r}?" if near else "pass one of these"
    raise ProviderError(f"provider: expected one of {', '.join(providers())}, got {name!r}; {advice}")


def create_session(
    model: Path | bytes,
    provider: str,
    options: onnxruntime.SessionOptions | None,
    *,
    reseed: bool,
    provider_options: Mapping[str, str] | None = None,
) -> onnxruntime.InferenceSession:
    """Returns a session on the model, with the asked provider first; it never falls back, now or later.

    Where the provider takes no node of the model, it must take one of another model; then it is only logged that
    everything runs on the CPU. onnxruntime before 1.24 does not tell.

    Args:
        model: the model file, or its bytes.
        provider: onnxruntime's name of the provider, from `find_provider`. Nodes that it cannot run are on the CPU.
        options: the session options, or None. A provider that is a plugin is added to them; given again, they keep it
            as it is.
        reseed: give onnxruntime's random nodes fresh entropy first. This sets the seed of the process.
        provider_options: options of the provider, over those of `provider_options.SETTINGS`.

    Raises:
        TypeError: the provider's options are no strings.
        ValueError: options are given for the CPU, or beside session options that already say others.
        BundleError: the model is at fault.
        ProviderError: the provider is, or its options.
    """
    chosen = options_of(provider, provider_options)
    where = model if isinstance(model, Path) else Path("model")
    try:
        session = _create(model, provider, options, chosen, reseed=reseed)
    except Exception as error:
        if provider == CPU:
            raise unreadable(where, error) from error
        try:
            plain = None if options is not None and _has_providers(options) else options
            _create(model, CPU, plain, {}, reseed=reseed)
        except Exception as on_cpu:
            raise unreadable(where, on_cpu) from error
        raise _unavailable(where, provider, f"{type(error).__name__}: {str(error).strip()}", chosen) from error
    check_texts(session, where)
    found = session.get_providers()
    if found[0] != provider:
        raise _unavailable(where, provider, f"a session on {short_name(found[0])}", chosen)
    if provider_options and plugin_devices(provider):
        check_heeded(session.get_provider_options().get(provider, {}), provider_options, short_name(provider))
    if provider != CPU and nodes_on(session, provider) == 0:
        if not _works(provider, chosen):
            raise _unavailable(where, provider, "a session without a single node on it", chosen)
        _LOG.warning("%s: %s takes no node of it; all run on cpu", where, short_name(provider))
    return session


def nodes_on(session: onnxruntime.InferenceSession, provider: str) -> int | None:
    """Returns how many nodes of the session's graph the provider took, or None where onnxruntime does not tell.

    A node counts that was there when onnxruntime handed nodes to providers, before most optimisations; an `If` that
    was taken whole counts once, without its branches.
    """
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception:  # unknown to this version, or not recorded in this session
        return None
    if not parts:  # the provider does not take part in recording
        return None
    return sum(len(part.get_nodes()) for part in parts if part.ep_name == provider)


def _present() -> list[str]:
    """All providers that plugins bring or that onnxruntime was built with, by its names; they may not work."""
    plugins = installed_plugins()  # once registered, they are listed among those that it was built with
    return plugins + [p for p in onnxruntime.get_available_providers() if p != REMOTE and p not in plugins]


def _register(provider: str) -> None:
    """The provider's plugin is registered, where one is there and onnxruntime was built without the provider."""
    if provider in installed_plugins() and provider not in onnxruntime.get_available_providers():
        register_plugin(provider)


def _create(
    model: Path | bytes,
    provider: str,
    options: onnxruntime.SessionOptions | None,
    provider_options: dict[str, str],
    *,
    reseed: bool,
) -> onnxruntime.InferenceSession:
    if options is None:
        options = onnxruntime.SessionOptions()
    if provider != CPU:
        options.add_session_config_entry(RECORD, "1")
    devices = plugin_devices(provider)
    order: Any = None
    if not devices:
        order = [provider] if provider == CPU else [provider, CPU]
    elif not _has_providers(options):
        options.add_provider_for_devices(devices[:1], provider_options)
    settings = [provider_options, {}][: len(order)] if order and provider_options else None
    source = model if isinstance(model, bytes) else str(model)
    with _SEEDING if reseed else contextlib.nullcontext():
        if reseed:
            onnxruntime.set_seed(secrets.randbits(63))  # onnxruntime uses its lower 32 bits
        # enable_fallback is heeded by new versions, and keeps them from printing; the session's own switch by all.
        session = onnxruntime.InferenceSession(
            source, options, providers=order, provider_options=settings, enable_fallback=0
        )
    session.disable_fallback()
    return session


def _has_providers(options: onnxruntime.SessionOptions) -> bool:
    """Tells whether a plugin was added to the options."""
    return bool(getattr(options, "has_providers", bool)())


def _works(provider: str, provider_options: Mapping[str, str] | None = None) -> bool:
    """Tells whether a session can be made on the provider, and its one node is there."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    settings = options_of(provider, None) if provider_options is None else dict(provider_options)
    try:
        _register(provider)
        session = _create(PROBE, provider, options, settings, reseed=False)
        return bool(session.get_providers()[0] == provider and nodes_on(session, provider) != 0)
    except Exception:  # whatever a provider raises, it does not work here
        return False


def _unavailable(model: Path, provider: str, got: str, settings: Mapping[str, str]) -> ProviderError:
    told = f" with {', '.join(f'{name}={value}' for name, value in settings.items())}" if settings else ""
    return ProviderError(
        f"{model}: expected a session on {short_name(provider)}{told}, got {got}; check its driver, libraries "
        f"and options (for CUDA from pip: call onnxruntime.preload_dlls() first), or pass one of "
        f"{', '.join(providers())}"
    )
