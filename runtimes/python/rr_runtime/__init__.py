"""Runs routed ONNX files with onnxruntime and numpy only: fresh paths, seeded paths, forced paths.

A public name is imported when it is first asked for: a help, or a reader of files, needs no onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rr_runtime.lazy_names import import_when_asked

if TYPE_CHECKING:
    from rr_runtime.draws import draws
    from rr_runtime.errors import BundleError, ProviderError, RuntimeFailure
    from rr_runtime.explanation import Explanation
    from rr_runtime.prepared import PreparedRun
    from rr_runtime.providers import providers
    from rr_runtime.results import EnsembleResult, Result
    from rr_runtime.session import Session
    from rr_runtime.tuning import Tuning

__all__ = [
    "BundleError",
    "EnsembleResult",
    "Explanation",
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
    "Explanation": "rr_runtime.explanation",
    "PreparedRun": "rr_runtime.prepared",
    "ProviderError": "rr_runtime.errors",
    "Result": "rr_runtime.results",
    "RuntimeFailure": "rr_runtime.errors",
    "Session": "rr_runtime.session",
    "Tuning": "rr_runtime.tuning",
    "draws": "rr_runtime.draws",
    "providers": "rr_runtime.providers",
}

import_when_asked(__name__, _HOMES)
