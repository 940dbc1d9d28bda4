"""Reads files of others into what a command line takes: arrays of numpy, and JSON in which every key stands once."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_array(file: str | Path, where: str) -> NDArray[Any]:
    """Returns the array of a ``.npy`` file.

    Args:
        file: its name.
        where: the option that names it, for the message.

    Raises:
        ValueError: it is none: not there, empty, cut short, of Python objects, or an archive.
    """
    try:
        with Path(file).open("rb") as stream:  # numpy leaves a damaged one open
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            raise ValueError("an archive of several arrays")
    except Exception as error:  # numpy has no class of its own, and raises EOFError where a file is empty
        raise ValueError(f"{where}: expected a .npy file, got {file}: {error}; write it with numpy.save") from error


def read_arrays(file: str | Path, where: str) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a ``.npz`` file by name; arguments and errors as for `read_array`."""
    try:
        with Path(file).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if len(set(archive.files)) != len(archive.files):
                raise ValueError("two arrays of one name")
            return dict(archive)
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise ValueError(f"{where}: expected a .npz file, got {file}: {error}; write it with numpy.savez") from error


def stored_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a ``.npz`` file from a stranger by name.

    Its members have to stand there as they are, as numpy.savez writes them: then what is unpacked is no larger than the
    file, whose size is known.

    Raises:
        Exception: of whatever class numpy, zipfile and zlib have for what is no such file.
    """
    with file.open("rb") as stream:
        with zipfile.ZipFile(stream) as archive:
            packed = [part.filename for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise ValueError(f"expected arrays that are not compressed, got {packed[0]!r}, which is")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as arrays:
            if len(set(arrays.files)) != len(arrays.files):
                raise ValueError("expected arrays of different names, got two of one")
            return dict(arrays)


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the object of these keys and values, as ``json.loads`` asks for with ``object_pairs_hook``.

    Raises:
        ValueError: a key stands there twice; json itself takes the last one.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} twice")
    return found


def read_json_file(file: str | Path, where: str) -> Any:
    """Returns the value of a JSON file; arguments as for `read_array`.

    Raises:
        ValueError: it is none, or a key stands there twice.
    """
    try:
        return json.loads(Path(file).read_bytes(), object_pairs_hook=unique_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected a JSON file, got {error}; mend it") from error
