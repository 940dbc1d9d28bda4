"""Opens sessions for timing: with as many threads as asked for, which do not wait actively for each other."""

from __future__ import annotations

from pathlib import Path

from rr_runtime.providers import find_provider, short_name
from rr_runtime.session import Session
from rr_runtime.tools.timing import session_options

# Providers that have threads of their own, and the option that says how many; the others take the session's.
THREADS = {"openvino": "num_of_threads"}


def open_session(path: Path, provider: str, target: str | None, *, threads: int) -> Session:
    """Returns a session whose operators use at most ``threads`` threads.

    Raises:
        BundleError: the bundle is at fault.
        ProviderError: the provider is.
        ValueError: the bundle has no such target.
    """
    option = THREADS.get(short_name(find_provider(provider)))
    return Session(
        path,
        provider=provider,
        target=target,
        session_options=session_options(threads),
        provider_options={option: str(threads)} if option else None,
    )
