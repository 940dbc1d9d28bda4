"""Whether a bundle can be written to a place, asked before the work that makes it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from rr_export.bundle.atomic_write import writable
from rr_export.bundle.bundle_writer import check_replaceable
from rr_export.errors import BundleError


def check_place(place: Path, *, overwrite: bool) -> None:
    """A bundle can be written to ``place``: it is free or may be replaced, and the system lets it.

    Raises:
        BundleError: it cannot; nothing is changed there.
    """
    if place.suffix == ".onnx":
        if place.is_dir():
            raise BundleError(f"{place}: expected a place for one file, got a folder; choose another name")
        if place.exists() and not overwrite:
            raise BundleError(
                f"{place}: expected no such file, got one; choose another name, or pass overwrite=True (--overwrite)"
            )
    else:
        check_replaceable(place, overwrite=overwrite)
    with writable(place), tempfile.TemporaryFile(dir=_nearest(place)):
        pass


def check_one_file(place: Path, *, targets: Collection[str], external: bool, profiles: Collection[str] = ()) -> None:
    """A bundle with these targets and profiles can be at ``place``, where its name is that of one file.

    Raises:
        BundleError: it cannot.
    """
    if place.suffix != ".onnx":
        return
    for kind, names in (("targets", targets), ("profiles", profiles)):
        if names:
            raise BundleError(
                f"{place}: expected a folder for a bundle with {kind} ({', '.join(names)}), got the name of one file; "
                "save to a folder"
            )
    if external:
        raise BundleError(
            f"{place}: expected weights that fit into one file, got a request for external data; save to a folder"
        )


def check_room(place: Path, size: int) -> None:
    """There is room for so many bytes beside ``place``.

    Raises:
        BundleError: there is not.
    """
    with writable(place):
        free = shutil.disk_usage(_nearest(place)).free
    if free < size:
        raise BundleError(
            f"{place}: expected room for {size / 1e6:,.0f} MB of weights, got {free / 1e6:,.0f} MB; make room, or "
            "choose another place"
        )


def _nearest(place: Path) -> Path:
    """The nearest folder above a place that is there."""
    return next(p for p in place.absolute().parents if os.path.lexists(p))
