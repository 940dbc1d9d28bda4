"""What the first run over all ways, on real numbers, found out, for the second, in which tensors have none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from rr_export.errors import CaptureError


class Notes:
    """What the first run, on real numbers, found out, for the second run, in which tensors have none.

    The second run makes the same calls in the same order.

    Attributes:
        divided: numbers of uniform draws that are compared with several numbers, of which one varies: their interval is
            cut by all of them.
    """

    def __init__(self, divided: Collection[int] = ()) -> None:
        self.entries: list[tuple[str, Any]] = []
        self.position = 0
        self.replaying = False
        self.divided = frozenset(divided)

    def again(self) -> Notes:
        """Returns the notes for a second run."""
        notes = Notes(self.divided)
        notes.entries, notes.replaying = self.entries, True
        return notes

    def ask(self, where: str, find: Callable[[], Any]) -> Any:
        """Returns what the first run found here."""
        if not self.replaying:
            self.entries.append((where, find()))
            return self.entries[-1][1]
        if self.position >= len(self.entries) or self.entries[self.position][0] != where:
            raise CaptureError(
                f"{where}: expected the same code to run again, got other calls the second time; remove what makes "
                "the model's code depend on something else than its arguments and draws"
            )
        self.position += 1
        return self.entries[self.position - 1][1]
