"""What a command found: for machines as JSON, for people as text, and as an exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rr_runtime.strict_json import strict_json

HOLDS, MISMATCH, USAGE = 0, 1, 2
CLOSED = 141  # nobody reads the output any more: what a shell says of a program that SIGPIPE ended


@dataclass(frozen=True)
class Outcome:
    """What a command found.

    Attributes:
        result: JSON-ready.
        text: makes it readable for people.
        code: the exit code.
        errors: what is wrong with parts of the input, while others were looked at.
        files: texts to write into files, once the rest is told.
    """

    result: dict[str, Any]
    text: Callable[[], str]
    code: int = HOLDS
    errors: tuple[str, ...] = ()
    files: Mapping[Path, str] = field(default_factory=dict)


def json_text(result: dict[str, Any]) -> str:
    """Returns the result as JSON on one line."""
    return strict_json(result)
