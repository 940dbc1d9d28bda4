"""Runs routed ONNX files with onnxruntime and numpy only: fresh paths, seeded paths, forced paths.

A public name is imported when it is first asked for: a help, or a reader of files, needs no onnxruntime.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rr_runtime.draws import draws
    from rr_runtime.errors import BundleError, ProviderError, RuntimeFailure
    from rr_runtime.prepared import PreparedRun
    from rr_runtime.providers import providers
    from rr_runtime.results import EnsembleResult, Result
    from rr_runtime.session import Session
    from rr_runtime.tuning import Tuning

__all__ = [
    "BundleError",
    "EnsembleResult",
    "PreparedRun",
    "ProviderError",
    "Result",
    "RuntimeFailure",
    "Session",
    "Tuning",
    "__version__",
    "draws",
    "providers",
]

__version__ = "0.1.0"
_HOMES = {
    "BundleError": "rr_runtime.errors",
    "EnsembleResult": "rr_runtime.results",
    "PreparedRun": "rr_runtime.prepared",
    "ProviderError": "rr_runtime.errors",
    "Result": "rr_runtime.results",
    "RuntimeFailure": "rr_runtime.errors",
    "Session": "rr_runtime.session",
    "Tuning": "rr_runtime.tuning",
    "draws": "rr_runtime.draws",
    "providers": "rr_runtime.providers",
}


def __getattr__(name: str) -> Any:
    """Imports a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps the functions ``draws`` and ``providers`` in place of the files of these names."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
