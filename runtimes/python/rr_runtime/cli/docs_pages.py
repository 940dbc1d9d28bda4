"""Which page of the documentation says more of an error."""

from __future__ import annotations

from rr_runtime.errors import BundleError, ProviderError, RuntimeFailure

# By class, the first that an error is of; rr_export carries them all.
PAGES: dict[type[Exception], str] = {
    BundleError: "runtime-bundle",
    ProviderError: "provider",
    RuntimeFailure: "runtime-failure",
    ValueError: "arguments",
    TypeError: "arguments",
}


def page_of(error: Exception) -> str:
    """Returns how the page of an error of this package is read."""
    return page_named(next(page for kind, page in PAGES.items() if isinstance(error, kind)))


def page_named(name: str = "") -> str:
    """Returns how a page is read, without a name that of all errors."""
    return f"rr-export explain{' ' * bool(name)}{name} (where rr-export is installed)"
