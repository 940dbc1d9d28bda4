"""Files of figures that belong to a bundle and are not kept in it: read, and told apart by what they say they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rr_export.quality.kept_results import ATTRIBUTION, FRONT
from rr_export.report.report import FORM as PARITY
from rr_export.sweep import BEGIN, read_sweep
from rr_export.sweep import FORMAT as SWEEP
from rr_runtime.one_line import cut_to_line

# What a file says that it is -> whether there may be several of it.
SEVERAL = {"bench": False, FRONT: False, SWEEP: False, ATTRIBUTION: False, PARITY: True, "doctor": True, "check": True}


@dataclass(frozen=True)
class GivenFile:
    """One file.

    Attributes:
        file: where it is.
        told: what is in it; of a sweep what it is of, and the results by their keys.
    """

    file: Path
    told: Any


@dataclass(frozen=True)
class GivenFiles:
    """Files, by what they say that they are."""

    by_kind: Mapping[str, tuple[GivenFile, ...]]

    def one(self, kind: str) -> GivenFile | None:
        """Returns the file of a kind, or None where none is given."""
        found = self.of(kind)
        return found[0] if found else None

    def of(self, kind: str) -> tuple[GivenFile, ...]:
        """Returns the files of a kind, in the order in which they are given."""
        return self.by_kind.get(kind, ())


def read_given(files: Sequence[Path]) -> GivenFiles:
    """Returns the files, each read once.

    Raises:
        ValueError: one cannot be read, is nothing that rr_export or rr_runtime write, or is the second of a kind of
            which there may be one.
    """
    found: dict[str, list[GivenFile]] = {}
    for file in files:
        kind, told = _read(file)
        found.setdefault(kind, []).append(GivenFile(file, told))
        if len(found[kind]) > 1 and not SEVERAL[kind]:
            raise ValueError(
                f"{file}: expected one file of the kind {kind!r}, got {found[kind][0].file} beside it; leave one away"
            )
    return GivenFiles({kind: tuple(given) for kind, given in found.items()})


def _read(file: Path) -> tuple[str, Any]:
    """What a file is, and what is in it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: expected a file of figures, got {error.strerror}; name one that is there") from error
    if content.startswith(BEGIN):
        return SWEEP, read_sweep(file)
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    kind = told.get("format", told.get("tool")) if isinstance(told, dict) else None
    if not isinstance(kind, str) or kind not in SEVERAL:
        got = repr(kind) if isinstance(kind, str) else "something else"
        raise ValueError(
            f"{file}: expected figures of one of the kinds {', '.join(SEVERAL)}, got {cut_to_line(got)}; "
            "see docs/report.md for what writes them"
        )
    return kind, told
