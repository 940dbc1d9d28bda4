"""What a search or an attribution found, kept as a JSON file and read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rr_export.bundle.atomic_write import write_atomically
from rr_export.report.earlier import EARLIER
from rr_runtime.file_places import check_report_file
from rr_runtime.strict_json import strict_json

VERSION = 1
ATTRIBUTION, FRONT = "rr.attribution", "rr.front"  # what they say that they are
Source = Mapping[str, Any] | str | os.PathLike[str]


def keep_result(told: Mapping[str, Any], file: str | os.PathLike[str]) -> Path:
    """Returns the file, which holds the result; it appears whole or not at all.

    Raises:
        ValueError: there is no folder for it, it would be in a bundle, or something else than such a result is there.
        BundleError: the system does not let it be written.
    """
    place = Path(file)
    check_report_file(place, option="save", earlier=EARLIER["json"])
    write_atomically(place, strict_json(told, indent=1).encode())
    return place


@contextmanager
def kept_result(source: Source, form: str) -> Iterator[Mapping[str, Any]]:
    """Yields what ``keep_result`` wrote; that the block finds it otherwise than it should be is said of the file.

    Args:
        source: the file, or what is in it.
        form: the "format" that it has, such as ``rr.front``.

    Raises:
        ValueError: the file is not there, is of another form, or is damaged.
    """
    name = form if isinstance(source, Mapping) else os.fspath(source)
    try:
        told = source if isinstance(source, Mapping) else json.loads(Path(source).read_text(encoding="utf-8"))
        if (told["format"], told["version"]) != (form, VERSION):
            raise ValueError(f"{told['format']} {told['version']}")
        yield told
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{name}: expected what is kept as {form} {VERSION}, got {type(error).__name__}: {error}; keep it again"
        ) from error
