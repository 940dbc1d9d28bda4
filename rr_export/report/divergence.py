"""Where two models part: the first cause that was found, and how the difference grows from there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SHOWN = 6  # weights, and steps of the growth, that are listed


@dataclass(frozen=True)
class DivergingValue:
    """A value of a run that is another one on either side.

    Attributes:
        name: of the value in the file.
        node: what computes it there: name and operator.
        module: the module of the model that it is computed in; "" where that is not known.
        line: the user's line, as ``file.py:line``; "" where that is not known.
        site: the innermost site around it; "" outside of all.
        branch: the branch of that site.
        expected: what it should be, at the place of the largest difference, in words.
        got: what it is there.
        difference: the largest difference of its numbers; infinite where they cannot be compared.
    """

    name: str
    node: str
    module: str
    line: str
    site: str
    branch: str
    expected: str
    got: str
    difference: float

    def __str__(self) -> str:
        """Node, module, line and branch."""
        place = f"node {self.node}"
        place += f" in module {self.module!r}" if self.module else ""
        place += f" ({self.line})" if self.line else ""
        return place + (f", site {self.site!r}, branch {self.branch!r}" if self.site else ", outside of all sites")


@dataclass(frozen=True)
class Divergence:
    """The first cause of a difference.

    Attributes:
        path: the path that was looked at, which is one where the outputs differ.
        weights: names of weights that are other numbers on either side, in the order of the file.
        first: the first value that is another one; None where no value was found.
        growth: the largest difference of the values after it, at the last value of each module: (module, difference).
        compared: how many values were compared.
        note: what could not be looked at; "" where everything could.
    """

    path: tuple[int, ...]
    weights: tuple[str, ...] = ()
    first: DivergingValue | None = None
    growth: tuple[tuple[str, float], ...] = ()
    compared: int = 0
    note: str = ""

    def lines(self) -> list[str]:
        """Returns what was found, one sentence a line, the first cause first."""
        found = []
        if self.weights:
            more = len(self.weights) - SHOWN
            names = ", ".join(self.weights[:SHOWN]) + (f" and {more} more" if more > 0 else "")
            found.append(f"weights that differ ({len(self.weights)}): {names}")
        if self.first is not None:
            found.append(f"first value that differs, on path {list(self.path)}: {self.first}")
            found.append(
                f"value {self.first.name!r}: expected {self.first.expected}, got {self.first.got} "
                f"(the largest of its differences: {self.first.difference:.2g})"
            )
        if self.growth:
            steps = [f"{module} {difference:.2g}" for module, difference in self.growth]
            found.append("the difference from there: " + " > ".join(steps))
        if self.note:
            found.append(self.note)
        return found

    def to_json(self) -> Mapping[str, Any]:
        """Returns it as a JSON-ready dictionary."""
        found = asdict(self)
        found["growth"] = [{"module": module, "difference": difference} for module, difference in self.growth]
        return found

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Divergence:
        """Returns what ``to_json`` has written.

        Raises:
            KeyError, TypeError, ValueError: it is no such thing.
        """
        return cls(
            path=tuple(map(int, told["path"])),
            weights=tuple(map(str, told["weights"])),
            first=None if told["first"] is None else _value(told["first"]),
            growth=tuple((str(row["module"]), _number(row["difference"])) for row in told["growth"]),
            compared=int(told["compared"]),
            note=str(told["note"]),
        )


def _value(told: Mapping[str, Any]) -> DivergingValue:
    return DivergingValue(**{**told, "difference": _number(told["difference"])})


def _number(told: float | None) -> float:
    """A difference; JSON has null for one that is infinite."""
    return math.inf if told is None else float(told)
