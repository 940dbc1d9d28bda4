"""Containers of which one may be another one, by what was decided: what changes one changes the others there."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap
from rr_export.capture.python.decisions import Line
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.plain_access import contents, refill, same_objects
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.errors import CaptureError

Split = Callable[[dd.Diagram, int, Callable[[int], Any]], Any]


@dataclass(frozen=True)
class _Link:
    """A container is another one where a condition holds.

    Attributes:
        other: which it is.
        where: from decisions to whether it is.
        line: of the decision after which it may be.
    """

    other: Any
    where: dd.Diagram
    line: Line


@dataclass(frozen=True)
class _State:
    """What a container held, and of a list that is longer on some paths which elements were there."""

    held: heap.Snapshot
    there: Sequence[Any]


@dataclass(frozen=True)
class _Change:
    """A change of one container that is one of another where a condition holds.

    Attributes:
        of: what was changed.
        before: what that held.
        other: what is the same there.
        where: from decisions to whether it is.
        line: of the decision after which it may be.
    """

    of: Any
    before: _State
    other: Any
    where: dd.Diagram
    line: Line


class Aliases:
    """Which containers may be one.

    Args:
        ledger: says where the code is.
        memory: keeps which lists are longer on some paths.
        whereabouts: where the code is.
    """

    def __init__(self, ledger: Ledger, memory: Memory, whereabouts: Whereabouts) -> None:
        self._ledger, self._memory, self._whereabouts = ledger, memory, whereabouts
        self._links: dict[int, list[_Link]] = {}  # by identity of either
        self._alike: dict[int, tuple[Any, _State]] = {}  # what they held when a change of one was one of all
        self._settling = False

    def share(self, made: Any, values: Sequence[Any], which: dd.Diagram, line: Line) -> None:
        """From now on ``made`` is one of ``values``.

        Args:
            made: what the code goes on with.
            values: what it may be; None: something that nothing else holds.
            which: from decisions to the position of the value that it is.
            line: of the decision.
        """
        for position, value in enumerate(values):
            if value is not None:
                where = dd.both(self._ledger.guard, dd.apply(lambda i, k=position: i == k, which))
                for one, other in ((made, value), (value, made)):
                    self._links.setdefault(id(one), []).append(_Link(other, where, line))
                    self._alike[id(one)] = one, self._state(one)

    def has(self, one: Any) -> bool:
        """Returns whether something may be another container."""
        return id(one) in self._links

    def look(self) -> None:
        """Whatever they hold now is no change any more."""
        if not self._settling:
            self._alike = {key: (one, self._state(one)) for key, (one, _) in self._alike.items()}

    def settle(self, split: Split) -> None:
        """What was changed is changed wherever else it is the same container.

        Args:
            split: runs something for every value of a diagram, and joins what it leaves behind.

        Raises:
            CaptureError: a change cannot be made there on some paths only.
        """
        if self._settling or not self._links:
            return
        changes = [change for one, before in self._alike.values() for change in self._changes(one, before)]
        if not changes:
            return
        both = {id(change.of) for change in changes} & {id(change.other) for change in changes}
        self._settling = True
        try:
            for change in changes:
                if both:
                    self._refuse(change)
                try:
                    split(change.where, 2, functools.partial(self._carry, change))
                except CaptureError as error:
                    self._refuse(change, error)
        finally:
            self._settling = False
        self.look()

    def _state(self, one: Any) -> _State:
        _, there = self._memory.ragged.get(id(one), (one, ()))
        return _State(heap.shallow(one), tuple(there))

    def _changes(self, one: Any, before: _State) -> Iterator[_Change]:
        """Yields what a change of a container is a change of, and where."""
        now = self._state(one)
        if same_objects(now.there, before.there) and not any(heap.changed(before.held, now.held)):
            return
        where: dict[int, dd.Diagram] = {id(one): dd.TRUE}
        lines: dict[int, _Link] = {}
        ways = deque([one])
        while ways:
            at = ways.popleft()
            for link in self._links[id(at)]:
                key = id(link.other)
                known = where.get(key, dd.FALSE)
                where[key] = dd.either(known, self._ledger.here(dd.both(where[id(at)], link.where)))
                if where[key] is not known:
                    lines.setdefault(key, link)
                    ways.append(link.other)
        for key, link in lines.items():
            yield _Change(one, before, link.other, where[key], link.line)

    def _carry(self, change: _Change, is_one: int) -> None:
        """Where the other container is the changed one, it holds what that holds."""
        if not is_one:
            return
        ragged = self._memory.ragged
        vary = id(change.of) in ragged or id(change.other) in ragged or bool(change.before.there)
        pairs = zip(change.before.held.places, heap.shallow(change.of).places.values(), strict=True)
        for (number, place), other in zip(pairs, heap.shallow(change.other).places.values(), strict=True):
            before, after = change.before.held.contents[number], contents(place.store)
            refill(other.store, after if vary else _changed(before, after, contents(other.store)))
        if vary:
            _, there = ragged.get(id(change.of), (None, [True] * len(contents(change.of))))
            ragged[id(change.other)] = change.other, list(there)

    def _refuse(self, change: _Change, error: CaptureError | None = None) -> NoReturn:
        try:
            self._whereabouts.refuse(
                f"that the branches of {change.line} leave containers of their own",
                f"a change of a {type(change.of).__name__} that has other names too on some paths only",
                "copy it where it gets the other name, or change it in every branch",
            )
        except CaptureError as refusal:
            raise refusal from error


def _changed(before: Any, after: Any, other: Any) -> Any:
    """What another container holds after a change; what the change leaves is there what it was there.

    Args:
        before: what the changed one held.
        after: what it holds.
        other: what the other one holds, each the same as in ``before``.
    """
    if isinstance(before, dict):
        same = {key for key, value in after.items() if key in other and before.get(key, heap.MISSING) is value}
        return {key: other[key] if key in same else value for key, value in after.items()}
    if not isinstance(before, list) or len(before) != len(other):
        return after
    place, made = 0, []
    for value in after:
        found = next((i for i in range(place, len(before)) if before[i] is value), None)
        made.append(value if found is None else other[found])
        place = place if found is None else found + 1
    return made
