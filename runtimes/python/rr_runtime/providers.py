"""Which execution providers this machine has, and sessions that really are on the asked one."""

from __future__ import annotations

import contextlib
import difflib
import secrets
import threading
from pathlib import Path
from typing import Any

import onnxruntime

from rr_runtime.bundle import unreadable
from rr_runtime.errors import ProviderError

CPU = "CPUExecutionProvider"
SUFFIX = "ExecutionProvider"
# Calls a remote service and runs no node of a file: a session on it would be one on the CPU.
REMOTE = "AzureExecutionProvider"

# A model of one Identity node on float32 [1], opset 13: what `providers` tries each provider with.
PROBE = bytes.fromhex(
    "08083a390a120a017812017922084964656e746974793a001201615a0f0a0178120a0a08080112040a020801"
    "620f0a0179120a0a08080112040a02080142040a00100d"
)

# onnxruntime has one random seed per process, and a session's random nodes take it while it is made.
_SEEDING = threading.Lock()


def providers() -> tuple[str, ...]:
    """Returns the short names of the execution providers that work on this machine, such as ("cuda", "cpu").

    Each provider that onnxruntime was built with is tried with a model of one node, as a build for a GPU says nothing
    about a driver or a device. That can take seconds on a GPU, and some providers print their reasons to stderr.
    """
    names = [name for name in onnxruntime.get_available_providers() if name != REMOTE]
    return tuple(short_name(name) for name in names if name == CPU or _works(name))


def short_name(provider: str) -> str:
    """Returns the short name of a provider: "cuda" for "CUDAExecutionProvider"."""
    return provider.removesuffix(SUFFIX).lower()


def find_provider(name: str) -> str:
    """Returns onnxruntime's name of a provider, from that name or from the short one.

    Raises:
        TypeError: the name is no string.
        ProviderError: onnxruntime was built without it, or does not know it.
    """
    if not isinstance(name, str):
        raise TypeError(f"provider: expected a name such as 'cpu', got {type(name).__name__} {name!r}; pass a string")
    known = {p for p in onnxruntime.get_all_providers() if p != REMOTE}
    built = [p for p in onnxruntime.get_available_providers() if p != REMOTE]
    for provider in built:
        if name in (provider, short_name(provider)):
            return str(provider)
    near = difflib.get_close_matches(
        name.lower().removesuffix(SUFFIX.lower()), map(short_name, known), n=1, cutoff=0.75
    )
    if any(name in (provider, short_name(provider)) for provider in known):
        advice = "install a build of onnxruntime that has it, or pass one of these"
    else:
        advice = f"did you mean {near[0]!r}?" if near else "pass one of these"
    raise ProviderError(f"provider: expected one of {', '.join(providers())}, got {name!r}; {advice}")


def create_session(
    model: Path, provider: str, options: onnxruntime.SessionOptions | None, *, reseed: bool
) -> onnxruntime.InferenceSession:
    """Returns a session on the model, with the asked provider first; it never falls back, now or later.

    Args:
        model: the model file.
        provider: onnxruntime's name of the provider. Nodes that it cannot run are on the CPU.
        options: the session options, or None.
        reseed: give onnxruntime's random nodes fresh entropy first. This sets the seed of the process.

    Raises:
        BundleError: the model is at fault.
        ProviderError: the provider is.
    """
    try:
        session = _create(str(model), provider, options, reseed=reseed)
    except Exception as error:
        if provider == CPU:
            raise unreadable(model, error) from error
        try:
            _create(str(model), CPU, options, reseed=reseed)
        except Exception as on_cpu:
            raise unreadable(model, on_cpu) from error
        raise _unavailable(model, provider, f"{type(error).__name__}: {str(error).strip()}") from error
    found = session.get_providers()
    if found[0] != provider:
        raise _unavailable(model, provider, f"a session on {short_name(found[0])}")
    return session


def _create(
    model: str | bytes, provider: str, options: onnxruntime.SessionOptions | None, *, reseed: bool
) -> onnxruntime.InferenceSession:
    order: list[Any] = [provider] if provider == CPU else [provider, CPU]
    with _SEEDING if reseed else contextlib.nullcontext():
        if reseed:
            onnxruntime.set_seed(secrets.randbits(63))  # onnxruntime uses its lower 32 bits
        # enable_fallback is heeded by new versions, and keeps them from printing; the session's own switch by all.
        session = onnxruntime.InferenceSession(model, options, providers=order, enable_fallback=0)
    session.disable_fallback()
    return session


def _works(provider: str) -> bool:
    """Tells whether a session can be made on the provider."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return bool(_create(PROBE, provider, options, reseed=False).get_providers()[0] == provider)
    except Exception:  # whatever a provider raises, it does not work here
        return False


def _unavailable(model: Path, provider: str, got: str) -> ProviderError:
    return ProviderError(
        f"{model}: expected a session on {short_name(provider)}, got {got}; check its driver and libraries "
        f"(for CUDA from pip: call onnxruntime.preload_dlls() first), or pass one of {', '.join(providers())}"
    )
