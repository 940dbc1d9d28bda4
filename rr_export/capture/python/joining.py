"""What is left after all branches of a decision ran: every place that they changed holds one value again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, Protocol

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap
from rr_export.capture.python.aliases import Aliases
from rr_export.capture.python.decisions import Decision, Line
from rr_export.capture.python.heap import MISSING, RESULT
from rr_export.capture.python.memory import Memory, Moment
from rr_export.capture.python.merging import Build, Merger
from rr_export.capture.python.plain_access import contents, put, refill, same_objects
from rr_export.capture.python.values import Poison, Varying
from rr_export.capture.python.varied import Varied
from rr_export.errors import CaptureError


class CallLog(Protocol):
    """What keeps the calls, and makes the markers: a recorder."""

    def inside(self, call: int, branch: int) -> AbstractContextManager[None]:
        """What is computed in the block belongs to this branch of this call."""

    def select(
        self,
        number: int,
        decided: torch.Tensor | None,
        operands: Sequence[Sequence[torch.Tensor]],
        name: str,
        given: Sequence[torch.Tensor],
    ) -> Sequence[torch.Tensor]:
        """Returns, for each result, the marker's value that is one of the operands of all branches."""


@dataclass(frozen=True)
class Parting:
    """A decision whose branches ran.

    Attributes:
        call: its number in the call log.
        decided: bool [], or None where a route decides.
        which: from decisions to the position of the branch.
        line: of the decision.
        before: what the code could change, before the branches.
        after: the same after each of them.
        gates: conditions on the input that were made in a branch, with its position.
    """

    call: int
    decided: torch.Tensor | None
    which: dd.Diagram
    line: Line
    before: Moment
    after: Sequence[Moment]
    gates: Sequence[tuple[Decision, int]] = ()


class Joiner:
    """Joins what the branches of one decision left behind.

    Args:
        calls: the call log.
        memory: which is as before the branches, and then as after them.
        aliases: learns which containers may be one.
        varied: learns which tensors differ from run to run.
        parting: the decision.
        one_of: makes one value of tensors that may have different shapes, from decisions to them.
    """

    def __init__(
        self,
        calls: CallLog,
        memory: Memory,
        aliases: Aliases,
        varied: Varied,
        parting: Parting,
        one_of: Callable[[dd.Diagram], Any],
    ) -> None:
        self._calls, self._memory, self._varied, self._parting = calls, memory, varied, parting
        self._aliases = aliases
        self._before, self._states = parting.before.reached, [moment.reached for moment in parting.after]
        self._merger = Merger(
            parting.which,
            parting.line,
            lambda branch: calls.inside(parting.call, branch),
            self._one_of,
            parting.after,
            memory.hold,
        )
        self._apart = one_of

    def join(self, results: Sequence[Any]) -> Any:
        """Returns the joined result of the branches, after which the code goes on with the joined state."""
        parting, tensors = self._parting, self._merger.tensors
        entries = self._entries()
        result = self._merger.merge(results, "the value")
        lifted = [(gate, self._merger.merge_gate(gate.tensor, k, len(self._states))) for gate, k in parting.gates]
        joined: Sequence[torch.Tensor] = ()
        if tensors:
            given = [t for t, _, _ in self._before.tensors.values()]
            operands = list(zip(*tensors, strict=True))
            joined = self._calls.select(parting.call, parting.decided, operands, str(parting.line), given)
            self._varied.add(joined)
        for place, key, build in entries:
            put(place.store, key, build(joined))
        for gate, build in lifted:
            gate.tensor = build(joined)
        made = result(joined)
        self._find_aliases()
        return made

    def _one_of(self, chosen: dd.Diagram) -> Any:
        """One of several tensors, of which some may be of one shape."""
        value = self._apart(chosen)
        if isinstance(value, Varying):
            self._memory.note_made(dd.leaves(value.diagram), self._parting.before)
        return value

    def _find_aliases(self) -> None:
        """Containers of which one may be another one, by what was decided."""
        copies = self._merger.copies.values()
        if not copies:
            return
        times = Counter(id(value) for _, values in copies for value in {id(v): v for v in values}.values())
        reached = self._memory.now().reached.seen
        for made, values in copies:
            others = [v if times[id(v)] > 1 or id(v) in reached or self._aliases.has(v) else None for v in values]
            self._aliases.share(made, others, self._parting.which, self._parting.line)

    def _entries(self) -> list[tuple[heap.Place, Any, Build]]:
        keys = dict.fromkeys(found for state in self._states for found in heap.changed(self._before, state))
        entries, ragged = [], self._ragged({number for number, _ in keys})
        for number in ragged:
            self._join_ragged(self._before.places[number], number)
        for number, key in keys:
            place = self._before.places[number]
            if number in ragged:
                continue
            if key is None:
                self._agree(place, number)
                continue
            values = [
                (s if number in s.contents else self._before).entries(number).get(key, MISSING) for s in self._states
            ]
            if isinstance(place.store, list):
                held = contents(place.store)
                if all(v is MISSING for v in values):
                    refill(place.store, held[:key])
                    continue
                refill(place.store, held + [None] * (key + 1 - len(held)))
            entries.append((place, key, self._entry(place, key, values)))
        return entries

    def _ragged(self, changed: Iterable[int]) -> list[int]:
        """The lists that a branch changed, of which an element need not be there on every path."""
        moments, before = self._parting.after, self._parting.before
        told = {n for moment in moments for n in moment.ragged if n in self._before.places}
        found = []
        for number in dict.fromkeys([*changed, *told]):
            store = self._before.places[number].store
            if not isinstance(store, list):
                continue
            lists = [moment.elements(store) for moment in moments]
            same = all(same_objects(list(chain(*one)), list(chain(*before.elements(store)))) for one in lists)
            if not same and (number in told or len(set(map(len, lists))) > 1):
                found.append(number)
        return found

    def _join_ragged(self, place: heap.Place, number: int) -> None:
        """A list that does not have the same elements after every branch; only plain ones can be read after it."""
        if number in self._memory.lasting:
            self._lost(f"a list ({place.name}) that is longer after one branch than after another")
        lists = [moment.elements(place.store) for moment in self._parting.after]
        self._memory.hold(self._merger.align(lists), place.store)

    def _entry(self, place: heap.Place, key: Any, values: list[Any]) -> Build:
        if not any(v is MISSING for v in values):
            return self._merger.merge(values, place.shown(key))
        if key == RESULT:
            return self._result(values)
        if isinstance(place.owner, heap.Scope):
            poison = Poison(
                f"{key!r} to be set on every path",
                f"one that only some branches of {self._parting.line} set",
                "set it before them",
            )
            return lambda joined: poison
        self._lost(f"{place.shown(key)}, which only some branches set or delete")

    def _lost(self, what: str) -> NoReturn:
        raise CaptureError(
            f"{self._parting.line}: expected branches that leave the same things behind, got a side effect that would "
            f"be lost: {what}; do it in every branch, or return the value"
        )

    def _agree(self, place: heap.Place, number: int) -> None:
        after = [s.contents.get(number, self._before.contents[number]) for s in self._states]
        if not all(same_objects(one, after[0]) for one in after):
            self._lost(f"a {type(place.store).__name__} ({place.name}) that only some branches change")
        refill(place.store, after[0])

    def _result(self, values: list[Any]) -> Build:
        """What a function returns where only some branches have returned yet: the others hold zeros, never read."""
        given = next(v for v in values if v is not MISSING)
        filled = [self._merger.zeros(given, branch) if v is MISSING else v for branch, v in enumerate(values)]
        return self._merger.merge(filled, "the returned value")
