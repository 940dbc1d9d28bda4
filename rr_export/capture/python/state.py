"""What lives on from run to run: attributes and globals that a run reads before it sets them."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from rr_export.capture.python import heap
from rr_export.capture.python.fields import Fields, GlobalFields
from rr_export.capture.python.plain_access import contents, put
from rr_export.capture.python.values import BINARY, COMPARISONS, UNARY, Poison, active_interpreter, tracer

ALIKE = "runs that start alike"
ANEW = "make it anew first in every run, or make it an input and an output"
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

    def left(self, before: heap.Snapshot, after: heap.Snapshot, unread: Sequence[Entry] = ()) -> Iterator[Left]:
        """Yields everything that the next run would find changed.

        Attributes of modules and classes, and globals, that a run sets before it reads them are its own, as are new
        entries of dictionaries, and entries that could not be read before they were set.

        Args:
            before: what there was before the run.
            after: what there is now.
            unread: entries that were kept from being read.
        """
        known = {entry.key for entry in unread}
        for number, key in heap.changed(before, after):
            place = before.places[number]
            if _place_of(place.owner) is not None:
                if (number, key) in self.read_first:
                    yield Left(place.shown(key), self.read_first[number, key])
            elif (number, key) not in known and (not isinstance(place.store, dict) or key in before.contents[number]):
                of_entry = isinstance(place.store, dict | list | Fields)
                shown = place.shown(key) if of_entry else f"a {type(place.store).__name__} ({place.name})"
                there = of_entry and all(key in one.entries(number) for one in (before, after))
                yield Left(shown, "model", Entry(place, key) if there else None)
        for number, (_, version, name) in before.tensors.items():
            if number in after.tensors and after.tensors[number][1] != version:
                yield Left(f"the tensor {name!r}", "model")
        for what in heap.changed_others(before):
            yield Left(what, "model")


@dataclass(frozen=True)
class Entry:
    """One entry of a dictionary or list, or one attribute of an object."""

    place: heap.Place
    name: Any

    @property
    def key(self) -> tuple[int, Any]:
        """What tells it from others."""
        return self.place.key, self.name


@dataclass(frozen=True)
class Left:
    """What the next run would find changed.

    Attributes:
        what: what to call it.
        line: that reads it, or "model".
        entry: which entry it is; None: it is none that can be kept from being read.
    """

    what: str
    line: Any
    entry: Entry | None = None


class Unset(Poison):
    """What an entry holds until a run has set it: whoever reads it is refused."""

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "an entry that no run has set" if active_interpreter.get() is None else str(_refused(self))


def _refused(unset: Any, *others: Any) -> Any:
    tracer().refuse(unset.expected, unset.got, unset.do)


for _name in (*BINARY, *COMPARISONS, *UNARY):
    setattr(Unset, f"__{_name.rstrip('_')}__", _refused)
for _name in (*(f"r{name.rstrip('_')}" for name in BINARY), "bool", "len", "iter", "contains", "getitem", "call"):
    setattr(Unset, f"__{_name}__", _refused)
for _name in ("float", "int", "index", "str", "format", "round"):
    setattr(Unset, f"__{_name}__", _refused)


@contextmanager
def kept_from_reading(entries: Sequence[Entry]) -> Iterator[None]:
    """Inside, these entries hold what must be set before it is read."""
    before = [(entry, contents(entry.place.store)[entry.name]) for entry in entries]
    try:
        for entry in entries:
            got = f"a side effect that would be lost: {entry.place.shown(entry.name)} is read before it is set, is "
            put(entry.place.store, entry.name, Unset(ALIKE, f"{got}changed by a run, and lives on to the next", ANEW))
        yield
    finally:
        for entry, held in before:
            put(entry.place.store, entry.name, held)


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
