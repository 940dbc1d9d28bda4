"""Attributes of modules that live on from run to run: read before a run sets them, and set by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from rr_export.capture.python import heap

Key = tuple[int, str]  # of the dictionary of a module's attributes, and the attribute's name


class State:
    """Which attributes a run has set so far, and which it read before."""

    def __init__(self) -> None:
        self.written: set[Key] = set()
        self.read_first: dict[Key, Any] = {}

    def writes(self, owner: Any, name: str) -> None:
        """An attribute is set."""
        if isinstance(owner, nn.Module):
            self.written.add((id(vars(owner)), name))

    def reads(self, owner: Any, name: str, line: Callable[[], Any]) -> None:
        """An attribute is read."""
        if isinstance(owner, nn.Module) and name in vars(owner):
            key = (id(vars(owner)), name)
            if key not in self.written and key not in self.read_first:
                self.read_first[key] = line()

    def left(self, before: heap.Snapshot, after: heap.Snapshot) -> Iterator[tuple[str, Any]]:
        """Yields everything that the next run would find changed, with the line that reads it, where that is known.

        Attributes of modules that a run sets before it reads them are its own, as are new entries of dictionaries.
        """
        for number, key in heap.changed(before, after):
            place = before.places[number]
            if isinstance(place.owner, nn.Module):
                if (number, key) in self.read_first:
                    yield place.shown(key), self.read_first[number, key]
            elif not isinstance(place.store, dict) or key in before.contents[number]:
                yield place.shown(key) if isinstance(place.store, dict) else f"a list ({place.name})", "model"
        for number, (_, version, name) in before.tensors.items():
            if number in after.tensors and after.tensors[number][1] != version:
                yield f"the tensor {name!r}", "model"
