"""One part of what is known of a bundle, in a form that a page and a terminal show alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Absent:
    """What is not known.

    Attributes:
        what: it, in a sentence.
        command: what finds it out.
        file: where the command puts it, which is named after the bundle then; "" where it is kept in the bundle.
    """

    what: str
    command: str
    file: str = ""

    def __str__(self) -> str:
        """All of it in one line."""
        after = f"; name {self.file} after the bundle then" if self.file else ""
        return f"{self.what} To have it: {self.command}{after}"


@dataclass(frozen=True)
class Section:
    """What is said about one question.

    Attributes:
        key: names it in links and JSON.
        title: its heading.
        says: sentences, each a paragraph.
        tables: its figures.
        drawn: what a page draws, each of a kind that ``pictures`` knows; a terminal leaves it to the tables.
        replaced: whether a page leaves the tables away, as what it draws says the same.
        absent: what is not known; None where nothing is missing.
    """

    key: str
    title: str
    says: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    drawn: tuple[Any, ...] = ()
    replaced: bool = False
    absent: Absent | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON-ready dictionary; of tables what is drawn of them."""
        told = [_ready(thing) for thing in self.drawn]
        return {"title": self.title, "says": list(self.says), "absent": str(self.absent or ""), "drawn": told}


def _ready(thing: Any) -> Mapping[str, Any]:
    assert is_dataclass(thing) and not isinstance(thing, type)
    return {"kind": type(thing).__name__, **asdict(thing)}
