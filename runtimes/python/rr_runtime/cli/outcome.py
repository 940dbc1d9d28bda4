"""What a command found: for machines as JSON, for people as text, and as an exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HOLDS, MISMATCH, USAGE = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """What a command found.

    Attributes:
        result: JSON-ready.
        text: makes it readable for people.
        code: the exit code.
        errors: what is wrong with parts of the input, while others were looked at.
    """

    result: dict[str, Any]
    text: Callable[[], str]
    code: int = HOLDS
    errors: tuple[str, ...] = ()


def json_text(result: dict[str, Any]) -> str:
    """Returns the result as JSON on one line."""
    return json.dumps(result, allow_nan=False)
