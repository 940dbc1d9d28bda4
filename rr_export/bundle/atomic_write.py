"""Files and folders that are there whole or not at all: written beside their place, then moved there in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``place``, for what is to be moved there; it is gone after the block."""
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def move_into_place(scratch: Path, place: Path) -> None:
    """The folder is at ``place``; what was there is gone, or there again where the move fails."""
    scratch.chmod(0o755)
    old = None
    if place.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        os.replace(place, old / "old")
    try:
        os.replace(scratch, place)
    except OSError:
        if old is not None:
            os.replace(old / "old", place)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def write_atomically(place: Path, content: bytes) -> None:
    """The file holds ``content``; whoever reads meanwhile sees the old content or the new one.

    A link is followed, and what is no regular file (a pipe, a device) is written to and stays what it is.
    """
    place = place.resolve() if place.is_symlink() else place
    if not place.parent.is_dir():
        raise FileNotFoundError(f"{place}: expected a folder to write into, got none; make {place.parent}")
    if place.exists() and not place.is_file():
        with place.open("wb") as out:
            out.write(content)
        return
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(name, 0o644)
        os.replace(name, place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
