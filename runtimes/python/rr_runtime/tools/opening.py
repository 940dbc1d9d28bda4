"""Opens sessions for timing: with as many threads as asked for, which do not wait actively for each other.

What was asked for is checked before: what is not there is bad input; what is there and fails is a result.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rr_runtime.bundle import Bundle
from rr_runtime.errors import RuntimeFailure
from rr_runtime.provider_options import thread_options
from rr_runtime.providers import find_provider
from rr_runtime.session import Session
from rr_runtime.target import DEFAULT
from rr_runtime.tools.timing import session_options
from rr_runtime.tuning import default_tuning


class Fails(RuntimeFailure):
    """What was asked for is there, and does not run."""


def check_targets(bundle: Bundle, names: Iterable[str | None]) -> None:
    """The bundle has all of these forms (None: whichever a session takes).

    Raises:
        ValueError: it does not.
    """
    known = [DEFAULT] * (bundle.model is not None) + list(bundle.manifest.targets)
    for name in names:
        if name is not None and name not in known:
            raise ValueError(
                f"target: expected one of {', '.join(known)} of {bundle.path}, got {name!r}; package it, or name "
                "another"
            )


def check_least(value: int, least: int, name: str) -> None:
    """The number is at least so much.

    Raises:
        ValueError: it is less.
    """
    if value < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {value}; pass at least {least}")


def open_session(path: Path, provider: str, target: str | None, *, threads: int) -> Session:
    """Returns a session like any other, whose operators use at most ``threads`` threads that do not wait actively.

    Raises:
        BundleError: the bundle is at fault.
        ProviderError: the provider is.
        ValueError: the bundle has no such target.
    """
    name, options = find_provider(provider), session_options(threads)
    default_tuning(name).leave_out(options)
    return Session(
        path, provider=provider, target=target, session_options=options, provider_options=thread_options(name, threads)
    )
