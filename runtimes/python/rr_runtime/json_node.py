"""Reads JSON from others: every value knows its place, so that each complaint says where it is."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from rr_runtime.array_files import unique_keys
from rr_runtime.errors import BundleError

DAMAGED = "the manifest is damaged, export the model again"
MOST_DEPTH = 200  # of lists and objects in each other
_T = TypeVar("_T")
_SHORT = reprlib.Repr()  # bounded in depth and length, as what it shows may be hostile
_SHORT.maxstring = _SHORT.maxother = 60


class Node:
    """A JSON value and its place, so that each complaint says where it is."""

    def __init__(self, value: Any, where: str, place: str) -> None:
        self.value, self.where, self.place = value, where, place

    def fail(self, expected: str) -> NoReturn:
        """Raises the error that says what was expected here."""
        place = f"{self.where}: {self.place}" if self.place else self.where
        raise BundleError(f"{place}: expected {expected}, got {_SHORT.repr(self.value)}; {DAMAGED}")

    def key(self, name: str) -> Node:
        """Returns the value of a key that must be there."""
        found = self.optional(name)
        if found is None:
            place = self._below(name)
            raise BundleError(f"{self.where}: {place}: expected this key, got none; {DAMAGED}")
        return found

    def optional(self, name: str) -> Node | None:
        """Returns the value of a key, or None where there is none."""
        if not isinstance(self.value, Mapping):
            self.fail("an object")
        return Node(self.value[name], self.where, self._below(name)) if name in self.value else None

    def items(self) -> list[tuple[str, Node]]:
        """Returns all keys of an object with their values."""
        if not isinstance(self.value, Mapping):
            self.fail("an object")
        return [(name, Node(value, self.where, self._below(name))) for name, value in self.value.items()]

    def each(self, read: Callable[[Node], _T]) -> tuple[_T, ...]:
        """Returns what ``read`` makes of every element of a list."""
        if not isinstance(self.value, list | tuple):
            self.fail("a list")
        return tuple(read(Node(value, self.where, f"{self.place}[{i}]")) for i, value in enumerate(self.value))

    def at_most(self, count: int) -> Node:
        """Returns the value itself, which is a list of at most ``count`` elements."""
        if isinstance(self.value, list | tuple) and len(self.value) > count:
            self.fail(f"a list of at most {count} elements instead of {len(self.value)}")
        return self

    def text(self) -> str:
        """Returns a text that is not empty."""
        return self.value if isinstance(self.value, str) and self.value else self.fail("a text that is not empty")

    def one_of(self, *words: str) -> str:
        """Returns a text that is one of ``words``."""
        if self.value not in words:
            self.fail(" or ".join(map(repr, words)))
        return str(self.value)

    def integer(self, low: int, high: int | None = None) -> int:
        """Returns an integer, ``low`` <= it <= ``high``; a bool is none."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            self.fail(f"an integer >= {low}" if high is None else f"an integer in {low}..{high}")
        return value

    def number(self, low: float, high: float) -> float:
        """Returns a number, ``low`` <= it <= ``high``, as a float."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.fail(f"a number in [{low:g}, {high:g}]")
        return float(value)

    def _below(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name


def read_json(text: str | bytes, where: str) -> Any:
    """Returns the JSON value of a text, UTF-8 where it is bytes.

    Refused is what JSON has not (NaN, infinities), and what not every language reads alike: a key twice, halves of
    characters, lists and objects nested deeper than ``MOST_DEPTH``.
    """
    try:
        said = text if isinstance(text, str) else text.decode()
        found = json.loads(said, parse_constant=_refuse_constant, object_pairs_hook=unique_keys)
        if "\\u" in said:  # else all texts are whole characters: they come from UTF-8
            json.dumps(found, ensure_ascii=False).encode()
        _check_depth(found)
        return found
    except (ValueError, RecursionError) as error:  # ValueError: bad JSON, bad UTF-8, a key twice
        raise BundleError(f"{where}: expected JSON, got {type(error).__name__}: {error}; {DAMAGED}") from error


def _check_depth(value: Any) -> None:
    """Raises a ValueError where lists and objects are nested too deeply."""
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError(f"values nested deeper than {MOST_DEPTH}")
        inner = (held for outer in level for held in (outer.values() if isinstance(outer, dict) else outer))
        level = [held for held in inner if isinstance(held, dict | list)]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
