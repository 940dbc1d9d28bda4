"""Whether a file may be written where it is asked for: asked before the work whose outcome it gets."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rr_runtime.manifest import FORMAT, MANIFEST, MOST_BYTES

BEGINNING = 4096  # bytes of a file by which it is known


def check_file_place(file: Path, *, option: str) -> None:
    """There is a folder for the file, which is no bundle: the files of a bundle are its own.

    Args:
        file: what is to be written.
        option: what asks for it, for messages.

    Raises:
        ValueError: there is none, it is a bundle, or the name is that of a folder.
    """
    if file.is_dir() or not file.parent.is_dir():
        found = f"the folder {file}" if file.is_dir() else f"no folder {file.parent}"
        raise ValueError(f"{option}: expected a place for a file, got {found}; make its folder, or choose another name")
    for folder in (file.parent, file.resolve().parent):  # where a link stands, and where it leads
        if _is_bundle(folder):
            raise ValueError(
                f"{option}: expected a place outside of bundles, got {file} in the bundle {folder}; choose another "
                "folder"
            )


def check_report_file(file: Path, *, option: str, earlier: re.Pattern[bytes] | None) -> None:
    """A report can be written there, and takes the place of nothing but an earlier one.

    Args:
        file: what is to be written. What is no regular file (a pipe, a device) stays what it is.
        option: what asks for it, for messages.
        earlier: what stands in the beginning of such a report; None: it is added to the text of any file.

    Raises:
        ValueError: there is no folder for it, it would be in a bundle, or something else is there.
    """
    check_file_place(file, option=option)
    if not file.is_file():
        return
    try:
        with file.open("rb") as stream:
            beginning = stream.read(BEGINNING)
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(f"{option}: expected a file that can be read, got {why!r} for {file}; name another") from error
    if earlier is None and not _is_text(beginning):
        raise ValueError(f"{option}: expected a new file, or a text to add to, got {file}, which is none; name another")
    if earlier is not None and beginning and not earlier.search(beginning):
        raise ValueError(
            f"{option}: expected a new file, or an earlier report of that form, got {file}, which is none; name another"
        )


def _is_bundle(folder: Path) -> bool:
    """Tells whether a folder holds the manifest of a bundle, be the rest of it damaged."""
    file = folder / MANIFEST
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            return False
        told = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("format") == FORMAT


def _is_text(beginning: bytes) -> bool:
    try:
        return "\0" not in beginning.decode()
    except UnicodeDecodeError as error:  # the last letter may be cut in two
        return len(beginning) == BEGINNING and error.start > BEGINNING - 4
