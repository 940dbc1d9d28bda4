"""Remembers in a bundle folder which provider was fastest on which machine: `fastest.json`.

A record holds for one kind of machine with one onnxruntime, and for the bundle as it was when it was measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from rr_runtime.bundle import MANIFEST, bundle_folder
from rr_runtime.plugins import installed_plugins
from rr_runtime.providers import short_name
from rr_runtime.tools.machine import about_machine, fingerprint

FASTEST = "fastest.json"
FORMAT, VERSION = "rr.fastest", 1

_LOG = logging.getLogger(__name__)


def recorded_provider(folder: str | os.PathLike[str]) -> str | None:
    """Returns the short name of the provider that was fastest for this bundle on this machine.

    None where nothing was measured here with this onnxruntime, where the bundle has changed since, where the provider
    is gone, and where the record is damaged (which is logged).
    """
    place = bundle_folder(folder)
    entry = _read(place).get(fingerprint())
    if not isinstance(entry, dict) or entry.get("manifest") != _digest(place):
        return None
    name = entry.get("provider")
    here = [*onnxruntime.get_available_providers(), *installed_plugins()]
    return name if isinstance(name, str) and name in map(short_name, here) else None


def record_provider(folder: str | os.PathLike[str], provider: str, *, mean_ms: Mapping[str, float]) -> Path:
    """The provider is recorded as the fastest for this bundle on this machine; other machines' records stay.

    Args:
        folder: the bundle folder.
        provider: its short name.
        mean_ms: the mean milliseconds of a run on every provider that was measured.
    """
    place = bundle_folder(folder)
    machines = _read(place)
    machines[fingerprint()] = {
        "provider": provider,
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
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["format"] == FORMAT and found["version"] == VERSION:
            return dict(found["machines"])
        raise ValueError(f"format {found['format']!r}, version {found['version']!r}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s: expected a record of the fastest provider, got %s; measure again", file, error)
        return {}


def _digest(folder: Path) -> str | None:
    """The SHA-256 of the manifest, in which the hashes of all other files stand; None where it cannot be read."""
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return None
