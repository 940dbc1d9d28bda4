"""What an object says of itself in one line, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 120  # characters of a line
FEW = 4  # things that are listed by name


def cut_to_line(text: str) -> str:
    """Returns a text as one line of at most 120 characters; where it is longer, its end is left out."""
    line = " ".join(text.split())
    return line if len(line) <= MOST else f"{line[: MOST - 3]}..."


def list_few(things: Iterable[Any]) -> str:
    """Returns the first things of many, and how many more there are."""
    texts = [str(thing) for thing in things]
    more = len(texts) - FEW
    return ", ".join(texts[:FEW]) + (f" and {more} more" if more > 0 else "")


def describe_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Returns the names of arrays, each with its dtype and sizes, and none of their numbers."""
    return list_few(f"{name}: {array.dtype} {list(array.shape)}" for name, array in arrays.items())
