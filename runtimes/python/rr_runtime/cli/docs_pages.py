"""Which page of the documentation says more of an error."""

from __future__ import annotations

from rr_runtime.errors import BundleError, ProviderError, RuntimeFailure

FOLDER = "docs/errors"  # of the repository; the address of a site, once there is one
# The first that an error is of.
PAGES: dict[type[Exception], str] = {
    BundleError: "runtime-bundle.md",
    ProviderError: "provider.md",
    RuntimeFailure: "runtime-failure.md",
    ValueError: "arguments.md",
    TypeError: "arguments.md",
}


def page_of(error: Exception) -> str:
    """Returns where the page of an error of this package is."""
    return f"{FOLDER}/{next(page for kind, page in PAGES.items() if isinstance(error, kind))}"
