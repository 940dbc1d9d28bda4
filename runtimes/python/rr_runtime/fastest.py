"""Remembers in a bundle folder what was fastest on which machine, provider and tuning: `fastest.json`.

A record holds for one kind of machine with one onnxruntime, and for the bundle as it was when it was measured. It may
come from a stranger: whatever it says, a session computes the same, on a provider that is here, with as many threads as
there are cores at most.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from rr_runtime.bundle import bundle_folder
from rr_runtime.manifest import MANIFEST
from rr_runtime.plugins import installed_plugins
from rr_runtime.providers import short_name
from rr_runtime.tools.machine import about_machine, fingerprint
from rr_runtime.tuning import Tuning, default_tuning, read_tuning

FASTEST = "fastest.json"
FORMAT, VERSION = "rr.fastest", 1
MOST_BYTES = 2**20  # of the file

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fastest:
    """What is recorded: the short name of a provider, and how a session on it computes."""

    provider: str
    tuning: Tuning


def recorded_fastest(folder: str | os.PathLike[str]) -> Fastest | None:
    """Returns what was fastest for this bundle on this machine.

    None where nothing was measured here with this onnxruntime, where the bundle has changed since, where the provider
    is gone, and where the record is damaged (which is logged). A record without a tuning has the provider's default.
    """
    place = bundle_folder(folder)
    entry = _read(place).get(fingerprint())
    if not isinstance(entry, dict) or entry.get("manifest") != _digest(place):
        return None
    name = entry.get("provider")
    here = {short_name(p): p for p in (*onnxruntime.get_available_providers(), *installed_plugins())}
    if not isinstance(name, str) or name not in here:
        return None
    try:
        return Fastest(name, read_tuning(entry["tuning"]) if "tuning" in entry else default_tuning(here[name]))
    except ValueError as error:
        _warn(Path(folder) / FASTEST, error)
        return None


def record_fastest(folder: str | os.PathLike[str], fastest: Fastest, *, mean_ms: Mapping[str, float]) -> Path:
    """The provider and its tuning are recorded as the fastest for this bundle on this machine; other records stay.

    Args:
        folder: the bundle folder.
        fastest: what was fastest.
        mean_ms: the mean milliseconds of a run on every provider that was measured.
    """
    place = bundle_folder(folder)
    machines = _read(place)
    machines[fingerprint()] = {
        "provider": fastest.provider,
        "tuning": fastest.tuning.to_json(),
        "mean_ms": dict(mean_ms),
        "manifest": _digest(place),
        "machine": about_machine(),
    }
    text = json.dumps({"format": FORMAT, "version": VERSION, "machines": machines}, indent=1)
    file = place / FASTEST
    beside = place / f".{FASTEST}.{os.getpid()}.rr-new"  # what savers know as left behind
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)
    return file


def _read(folder: Path) -> dict[str, Any]:
    """What is recorded, by fingerprint; {} where there is nothing, or nothing that can be read."""
    file = folder / FASTEST
    try:
        if not file.is_file():
            return {}
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["format"] == FORMAT and found["version"] == VERSION:
            return dict(found["machines"])
        raise ValueError(f"format {found['format']!r}, version {found['version']!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _warn(file, error)
        return {}


def _warn(file: Path, error: Exception) -> None:
    _LOG.warning("%s: expected a record of what is fastest, got %s; measure again", file, error)


def _digest(folder: Path) -> str | None:
    """The SHA-256 of the manifest, in which the hashes of all other files stand; None where it cannot be read."""
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return None
