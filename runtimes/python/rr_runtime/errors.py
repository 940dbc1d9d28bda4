"""What can go wrong at run time, apart from wrong arguments (those are ValueError and TypeError)."""

from __future__ import annotations


class RuntimeFailure(Exception):  # noqa: N818 - "RuntimeError" is taken
    """Running or checking a file failed; the base of all errors of this package."""


class BundleError(RuntimeFailure):
    """A bundle or file is missing, damaged, foreign, or does not agree with itself.

    Attributes:
        unloaded: whether it is a model file that this onnxruntime does not load, as another one may.
    """

    unloaded = False


class ProviderError(RuntimeFailure):
    """The asked execution provider cannot be had on this machine."""


def run_failure(file: object, provider: str, error: Exception) -> RuntimeFailure:
    """Returns the failure of a run on a provider, in words, for what onnxruntime raised."""
    advice = "check the values of the inputs" if provider == "cpu" else "compare with provider='cpu'"
    return RuntimeFailure(f"{file}: expected a run on {provider}, got: {str(error).strip()}; {advice}")
