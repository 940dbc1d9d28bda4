"""Outputs as files: ``.npz`` with the arrays, or ``.json`` with nested lists, by the names of the outputs."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.file_places import check_file_place

SUFFIXES = (".npz", ".json")


def check_output_file(file: Path, *, overwrite: bool, option: str = "--output") -> None:
    """A file can be written there; to be called before the work whose outcome it gets.

    Raises:
        ValueError: its name ends otherwise, its folder is not there or is a bundle, it is there and is not to be
            overwritten, or the system does not let it be written.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{option}: expected a name that ends in .npz or .json, got {file}; rename it")
    check_file_place(file, option=option)
    if file.exists() and not overwrite:
        raise ValueError(f"{file}: expected no such file, got one; choose another name, or pass --overwrite")
    check_folder(file.parent, str(file))


def check_folder(folder: Path, where: str) -> None:
    """A file can be made in the folder; to be called before the work whose outcome it gets.

    Raises:
        ValueError: the system does not let it be made.
    """
    with _said_of(where), tempfile.TemporaryFile(dir=folder):
        pass


def write_text(file: Path, text: str) -> None:
    """The file holds the text.

    Raises:
        ValueError: the system does not let it be written.
    """
    with _said_of(str(file)):
        file.write_text(text, encoding="utf-8")


@contextmanager
def _said_of(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(f"{where}: expected a place that can be written to, got {why!r}; choose another") from error


def write_outputs(file: Path, outputs: Mapping[str, NDArray[Any]]) -> None:
    """The file holds the outputs; it appears whole or not at all.

    Raises:
        ValueError: JSON cannot say one of the numbers, or the system does not let it be written.
    """
    content = _json(outputs) if file.suffix.lower() == ".json" else _npz(outputs)
    beside = file.with_name(f".{file.name}.{os.getpid()}.rr-new")
    with _said_of(str(file)):
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
