"""What lives on from run to run: attributes and globals that a run reads before it sets them."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from rr_export.capture.python import heap
from rr_export.capture.python.fields import Fields, GlobalFields

Key = tuple[int, str]  # of the place of attributes, and the attribute's name


class State:
    """Which attributes a run has set so far, and which it read before."""

    def __init__(self) -> None:
        self.written: set[Key] = set()
        self.read_first: dict[Key, Any] = {}

    def writes(self, owner: Any, name: str) -> None:
        """An attribute is set."""
        place = _place_of(owner)
        if place is not None:
            self.written.add((place, name))

    def reads(self, owner: Any, name: str, line: Callable[[], Any]) -> None:
        """An attribute is read."""
        key = _key(owner, name)
        if key is not None and key not in self.written and key not in self.read_first:
            self.read_first[key] = line()

    def left(self, before: heap.Snapshot, after: heap.Snapshot) -> Iterator[tuple[str, Any]]:
        """Yields everything that the next run would find changed, with the line that reads it, where that is known.

        Attributes of modules and classes, and globals, that a run sets before it reads them are its own, as are new
        entries of dictionaries.
        """
        for number, key in heap.changed(before, after):
            place = before.places[number]
            if _place_of(place.owner) is not None:
                if (number, key) in self.read_first:
                    yield place.shown(key), self.read_first[number, key]
            elif not isinstance(place.store, dict) or key in before.contents[number]:
                shown = isinstance(place.store, dict | Fields)
                yield place.shown(key) if shown else f"a {type(place.store).__name__} ({place.name})", "model"
        for number, (_, version, name) in before.tensors.items():
            if number in after.tensors and after.tensors[number][1] != version:
                yield f"the tensor {name!r}", "model"
        for what in heap.changed_others(before):
            yield what, "model"


def _place_of(owner: Any) -> int | None:
    """The place that holds the attributes of a module, of a class or of the globals; None: of something else."""
    if isinstance(owner, nn.Module | types.ModuleType):
        return id(vars(owner))
    return id(owner) if isinstance(owner, type | GlobalFields) else None


def _key(owner: Any, name: str) -> Key | None:
    """Where an attribute is found: in the owner, or in a class of it."""
    if isinstance(owner, GlobalFields):
        return id(owner), name
    place = _place_of(owner)
    if place is not None and not isinstance(owner, type) and name in vars(owner):
        return place, name
    kinds = (owner if isinstance(owner, type) else type(owner)).__mro__
    return next(((id(kind), name) for kind in kinds if name in vars(kind)), None)
