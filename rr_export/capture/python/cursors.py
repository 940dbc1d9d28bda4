"""Iterators over sequences, whose position is state: it may differ from path to path."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.values import diagram_here, is_symbolic, plain, refuse_one

# over these iter() gives a cursor; what a generator yields stands in a list
_SEQUENCES = (list, tuple, range, str, nn.ModuleList, nn.Sequential, nn.ParameterList)
_KEYS = (dict, nn.ModuleDict, nn.ParameterDict)


class Cursor:
    """What ``iter(sequence)`` gives while every decision goes all its ways.

    Attributes:
        items: the sequence.
        position: of the element that comes next, an int or a varying one.
    """

    __rr_tracked__ = True  # its attributes are looked at where branches may change them

    def __init__(self, items: Any) -> None:
        self.items = items
        self.position: Any = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not isinstance(self.position, int):
            refuse_one(self.position, "as an iterator")
        if self.position >= len(self.items):
            raise StopIteration
        self.position += 1
        return self.items[self.position - 1]


def cursor_over(values: Any) -> Cursor | None:
    """Returns the iterator over a sequence, or over the keys of a dictionary; None: it is neither."""
    if isinstance(values, Cursor):
        return values
    if isinstance(values, _KEYS):
        return Cursor(list(values))
    return Cursor(values) if isinstance(values, _SEQUENCES) else None


def finite(function: Any, args: tuple[Any, ...], result: Any) -> Any:
    """Returns the result of a call; an iterator that is known to end, as the cursor over what it yields."""
    of_module = isinstance(result, types.GeneratorType) and isinstance(getattr(function, "__self__", None), nn.Module)
    of_sequences = isinstance(result, zip | enumerate | reversed) and all(hasattr(a, "__len__") for a in args)
    return Cursor(list(result)) if of_module or of_sequences else result


def take_next(
    cursor: Cursor, default: tuple[Any, ...], lift: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
) -> Any:
    """Returns what ``next(cursor, *default)`` gives; the cursor stands one further.

    Args:
        cursor: the iterator.
        default: what is given at the end, in a tuple; empty: StopIteration is raised there.
        lift: calls a function once for every value of its arguments.
    """
    position = cursor.position
    if not is_symbolic(position):
        return next(cursor, *default)

    def element(place: int) -> Any:
        return next(iter((cursor.items[place],) if place < len(cursor.items) else default))

    result = lift(element, (position,), {})
    cursor.position = plain(dd.apply(lambda p: min(p + 1, len(cursor.items)), diagram_here(position)))
    return result
