"""Outputs as files: ``.npz`` with the arrays, or ``.json`` with nested lists, by the names of the outputs."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".npz", ".json")


def check_output_file(file: Path, *, overwrite: bool, option: str = "--output") -> None:
    """A file can be written there; to be called before the work whose outcome it gets.

    Raises:
        ValueError: its name ends otherwise, its folder is not there, or it is there and is not to be overwritten.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{option}: expected a name that ends in .npz or .json, got {file}; rename it")
    if file.is_dir() or not file.parent.is_dir():
        found = "a folder of that name" if file.is_dir() else f"no folder {file.parent}"
        raise ValueError(f"{file}: expected a place for a file, got {found}; make it, or choose another name")
    if file.exists() and not overwrite:
        raise ValueError(f"{file}: expected no such file, got one; choose another name, or pass --overwrite")


def write_outputs(file: Path, outputs: Mapping[str, NDArray[Any]]) -> None:
    """The file holds the outputs; it appears whole or not at all.

    Raises:
        ValueError: JSON cannot say one of the numbers.
    """
    content = _json(outputs) if file.suffix.lower() == ".json" else _npz(outputs)
    beside = file.with_name(f".{file.name}.{os.getpid()}.rr-new")
    try:
        beside.write_bytes(content)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _npz(outputs: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # numpy.savez takes no array called "file"
        for name, value in outputs.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, value, allow_pickle=False)
    return content.getvalue()


def _json(outputs: Mapping[str, NDArray[Any]]) -> bytes:
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"output {name!r}: expected finite numbers for JSON, got others; write a .npz file")
    return json.dumps({name: value.tolist() for name, value in outputs.items()}).encode()
