"""What the first run over all ways, on real numbers, found out, for the second, in which tensors have none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from rr_export.errors import CaptureError

Question = tuple[str, str]  # a line, and what the numbers of a tensor were wanted for there
CONDITION, NUMBER, LAW = "condition", "number", "law"


class Notes:
    """What the first run, on real numbers, found out, for the second run, in which tensors have none.

    The second run makes the same calls in the same order.

    Args:
        varying: questions whose answer is known to depend on the input, whatever the first run sees.
        divided: numbers of uniform draws that are compared with several numbers, of which one varies: their interval is
            cut by all of them.

    Attributes:
        answered: questions that got numbers which are the same in every run.
        mistaken: those of them of which the second run found that they are not.
    """

    def __init__(self, varying: Collection[Question] = (), divided: Collection[int] = ()) -> None:
        self.entries: list[tuple[str, Any]] = []
        self.varying, self.mistaken, self.answered = frozenset(varying), set[Question](), set[Question]()
        self.position = 0
        self.replaying = False
        self.divided = frozenset(divided)

    def again(self) -> Notes:
        """Returns the notes for a second run."""
        notes = Notes(self.varying, self.divided)
        notes.entries, notes.mistaken, notes.replaying = self.entries, self.mistaken, True
        return notes

    def is_same_in_every_run(self, question: Question) -> bool:
        """Returns whether a question was ever answered by numbers that are the same in every run."""
        return question in self.answered

    def decides(self, *purposes: str) -> bool:
        """Returns whether numbers that are the same in every run were wanted for one of these purposes."""
        return any(purpose in purposes for _, purpose in self.answered)

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
