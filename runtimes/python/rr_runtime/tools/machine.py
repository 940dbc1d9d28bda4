"""What this machine and its onnxruntime are, and how much memory this process has."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def about_machine() -> dict[str, Any]:
    """Returns what a table of measurements must say: processor, cores, system, versions (JSON-ready)."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "package": distribution(),
    }


def fingerprint() -> str:
    """Returns 16 hexadecimal digits that are the same on machines and onnxruntimes that measure alike.

    Processor, architecture, number of cores, system, and onnxruntime's package and version go in.
    """
    about = about_machine()
    keys = ("processor", "architecture", "cores", "system", "onnxruntime", "package")
    return hashlib.sha256(repr([about[key] for key in keys]).encode()).hexdigest()[:16]


def distribution() -> str:
    """Returns the name of the package that brings the module onnxruntime, such as "onnxruntime-openvino"."""
    names = importlib.metadata.packages_distributions().get("onnxruntime", [])
    return ", ".join(sorted(set(names))) or "onnxruntime"


def resident_bytes() -> int | None:
    """Returns how many bytes of this process are in memory; its peak where only that is known; None where nothing is.

    On Linux this is the current number, on other POSIX systems the peak.
    """
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _processor() -> str:
    """The name of the processor, as well as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    return platform.processor() or platform.machine()
