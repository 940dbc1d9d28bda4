"""The decisions that a model's own code makes, in the order in which they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.random_functions import Law
from rr_export.eager.choice import Choice

_BETWEEN = ("torch", "numpy", "random", "rr_export", "contextlib", "functools")  # code between the author's and a draw


def is_between(frame: FrameType) -> bool:
    """Returns whether a frame is of the code between the author's line and what it calls."""
    home = str(frame.f_globals.get("__name__") or "").partition(".")[0]
    return not home or home in _BETWEEN  # torch runs code of its own that no module has


@dataclass(frozen=True)
class Line:
    """Where something is decided.

    Attributes:
        file: path of the source.
        number: of the line.
        module: path of the module whose code it is; "" for the root, or where there is none.
    """

    file: str
    number: int
    module: str = ""

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.number}"

    @property
    def name(self) -> str:
        """The line with its module."""
        return f"{self.module}/{self}" if self.module else str(self)


@dataclass
class Decision:
    """A number that is drawn, a condition on the input, or the route of a site of rr_export.

    Attributes:
        kind: "draw", "gate" or "site".
        line: where.
        law: of a draw: from the values of earlier decisions to what is drawn from.
        site: of kind "site".
        made: under which earlier decisions it is made at all.
        asked: under which earlier decisions a branch depends on it.
        cuts: between the intervals that some branch tells apart.
        falling: of a draw that is compared with what depends on another decision: it is below where it lies high.
        tensor: of a gate: bool [], its outcome, False where it is not asked.
        lines: of a gate: the first and last line of the code that asks it.
        again: of a gate: the first decision that the same condition was, where there is one.
        unseen: of a gate: eagerly its tensor need not be seen to depend on the input. The graph alone may show that it
            does (by the size of a dynamic axis, or a number that was read); no other condition stands on its line.
    """

    kind: str
    line: Line
    made: dd.Diagram
    law: dd.Diagram = field(default_factory=lambda: dd.Leaf(None))
    site: Choice | None = None
    asked: dd.Diagram = dd.FALSE
    cuts: set[float] = field(default_factory=set)
    falling: bool = False
    tensor: Any = None
    unseen: bool = False
    lines: tuple[int, int] = (0, 0)
    again: int | None = None

    def is_at(self, file: str, number: int) -> bool:
        """Returns whether this line is one of those that ask it."""
        nowhere = not self.line.number  # in code that no line of the author's is known for
        return nowhere or (self.line.file == file and self.lines[0] <= number <= self.lines[1])

    def laws(self) -> list[Law]:
        """The laws that it may have."""
        return [law for law in dd.leaves(self.law) if isinstance(law, Law)]


@dataclass(frozen=True)
class Deciding:
    """What one call of the recorder chooses by.

    Attributes:
        which: from decisions to the position of the branch.
        line: where.
        names: of the branches, by position.
        computed: whether the graph computes which, from several decisions or a condition on the input.
    """

    which: dd.Diagram
    line: Line
    names: tuple[str, ...] = ()
    computed: bool = False
