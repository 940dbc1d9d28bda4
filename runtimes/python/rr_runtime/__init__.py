"""Runs routed ONNX files with onnxruntime and numpy only: fresh paths, seeded paths, forced paths."""

from __future__ import annotations

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
