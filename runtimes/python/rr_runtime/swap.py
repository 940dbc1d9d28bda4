"""A bundle folder that is being replaced: where it stands meanwhile if the system cannot do it in one step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

OLD = ".rr-old"  # ends the name of the folder that makes room for its successor


def old_beside(place: Path) -> Path:
    """Returns where a folder stands while another one takes its place."""
    return place.parent / f".{place.name}{OLD}"


def move_back(place: Path) -> None:
    """The folder that made room is at its place again where its successor never came; else nothing happens."""
    if not os.path.lexists(place) and old_beside(place).is_dir():
        with contextlib.suppress(OSError):
            old_beside(place).rename(place)
