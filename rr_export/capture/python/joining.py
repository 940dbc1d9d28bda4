"""What is left after all branches of a decision ran: every value that they changed becomes one value again.

Tensors become the results of the decision's marker; plain values become varying ones. What cannot be one value, such as
tensors of different shapes, may lie around, but not be read.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap
from rr_export.capture.python.heap import MISSING
from rr_export.capture.python.values import Drawn, Poison, Uniform, Varying, diagram_of, is_plain, plain, plain_kind
from rr_export.errors import CaptureError

if TYPE_CHECKING:
    from rr_export.capture.python.decisions import Line

Ragged = dict[int, tuple[list[Any], list[Any]]]  # lists by identity, with whether each element is there
Build = Callable[[Sequence[torch.Tensor]], Any]
FLOW, RESULT = "<flow>", "<result>"


class Joiner:
    """Joins the states after the branches of one decision.

    Args:
        tracing: the run.
        number: of the call.
        decided: bool [], or None where a route decides.
        which: from decisions to the position of the branch.
        line: of the decision.
        before: the state before the branches.
        states: the state after each.
        raggeds: the lists whose length varies after each.
    """

    def __init__(
        self,
        tracing: Any,
        number: int,
        decided: torch.Tensor | None,
        which: dd.Diagram,
        line: Line,
        before: heap.Snapshot,
        states: Sequence[heap.Snapshot],
        raggeds: Sequence[Ragged],
    ) -> None:
        self.tracing, self.number, self.decided, self.which = tracing, number, decided, which
        self.line, self.before, self.states, self.raggeds = line, before, states, raggeds
        self.tensors: list[tuple[torch.Tensor, ...]] = []

    def join(self, results: Sequence[Any], gates: Sequence[tuple[Any, int]] = ()) -> Any:
        """Returns the joined result of the branches, after which the code goes on with the joined state.

        Args:
            results: of the branches.
            gates: conditions on the input that were made in a branch, with its position.
        """
        entries = self._entries()
        result = self.merge(results, "the value")
        lifted = [(gate, self._lifted(gate.tensor, branch)) for gate, branch in gates]
        joined: Sequence[torch.Tensor] = ()
        if self.tensors:
            joined = self.tracing.recorder.select(
                self.number,
                self.decided,
                list(zip(*self.tensors, strict=True)),
                str(self.line),
                [t for t, _, _ in self.before.tensors.values()],
            )
            self.tracing.varied.add(joined)
        for place, key, build in entries:
            place.store[key] = build(joined)
        for gate, build in lifted:
            gate.tensor = build(joined)
        return result(joined)

    def _entries(self) -> list[tuple[heap.Place, Any, Build]]:
        keys = dict.fromkeys(found for state in self.states for found in heap.changed(self.before, state))
        joined: set[int] = set()
        entries = []
        for number, key in keys:
            place = self.before.places[number]
            if number in joined:
                continue
            if key is None:
                self._agree(place, number)
                continue
            lengths = {len(s.contents.get(number, self.before.contents[number])) for s in self.states}
            if isinstance(place.store, list) and (len(lengths) > 1 or number in self.tracing.ragged):
                self._join_ragged(place, number)
                joined.add(number)
                continue
            values = [
                (s if number in s.contents else self.before).entries(number).get(key, MISSING) for s in self.states
            ]
            if isinstance(place.store, list) and len(place.store) <= key:
                place.store.extend([None] * (key + 1 - len(place.store)))
            entries.append((place, key, self._entry(place, key, values)))
        return entries

    def _join_ragged(self, place: heap.Place, number: int) -> None:
        """A list to which the branches appended different numbers of plain values."""
        before = self.before.contents[number]
        items, (_, there) = list(before), self.tracing.ragged.get(number, (None, [True] * len(before)))
        for branch, state in enumerate(self.states):
            after = state.contents.get(number, before)
            _, of_branch = self.raggeds[branch].get(number, (None, [True] * len(after)))
            same = len(after) >= len(before) and all(a is b for a, b in zip(after, before, strict=False))
            added = after[len(before) :]
            if (
                not same
                or number in self.tracing.lasting
                or not all(isinstance(v, Varying) or is_plain(v) for v in added)
            ):
                self._lost(f"a list ({place.name}) that is longer after one branch than after another")
            here = dd.apply(lambda v, b=branch: v == b, self.which)
            for value, kept in zip(added, of_branch[len(before) :], strict=True):
                items.append(value)
                there.append(plain(dd.both(here, diagram_of(kept))))
        place.store[:] = items
        self.tracing.ragged[number] = (place.store, there)

    def _entry(self, place: heap.Place, key: Any, values: list[Any]) -> Build:
        if not any(v is MISSING for v in values):
            return self.merge(values, place.shown(key))
        if key == RESULT:
            return self._result(values)
        if isinstance(place.owner, heap.Scope):
            poison = Poison(
                f"{key!r} to be set on every path",
                f"one that only some branches of {self.line} set",
                "set it before them",
            )
            return lambda joined: poison
        self._lost(f"{place.shown(key)}, which only some branches set or delete")

    def _lost(self, what: str) -> NoReturn:
        raise CaptureError(
            f"{self.line}: expected branches that leave the same things behind, got a side effect that would be lost: "
            f"{what}; do it in every branch, or return the value"
        )

    def _agree(self, place: heap.Place, number: int) -> None:
        contents = [s.contents.get(number, self.before.contents[number]) for s in self.states]
        if any(c != contents[0] for c in contents):
            self._lost(f"a {type(place.store).__name__} ({place.name}) that only some branches change")
        store = place.store
        store.clear()
        store.update(contents[0]) if isinstance(store, set) else store.extend(contents[0])

    def _result(self, values: list[Any]) -> Build:
        """What a function returns where only some branches have returned yet: the others hold zeros, never read."""
        given = next(v for v in values if v is not MISSING)
        filled = [self._zeros(given, branch) if v is MISSING else v for branch, v in enumerate(values)]
        return self.merge(filled, "the returned value")

    def _lifted(self, tensor: torch.Tensor, branch: int) -> Build:
        operands = []
        for k in range(len(self.states)):
            with self.tracing.recorder.inside(self.number, k):
                operands.append(tensor if k == branch else torch.zeros((), dtype=torch.bool))
        return self._tensor(operands)

    def _tensor(self, operands: Sequence[torch.Tensor]) -> Build:
        self.tensors.append(tuple(operands))
        position = len(self.tensors) - 1
        return lambda joined: joined[position]

    def merge(self, values: Sequence[Any], name: str) -> Build:
        """Returns how to make the one value that stands for those of the branches."""
        if any(isinstance(v, Drawn) for v in values) and not all(isinstance(v, Drawn) for v in values):
            values = [v.item() if isinstance(v, Drawn) and v.values.size == 1 else v for v in values]
        first = values[0]
        if all(v is first for v in values):
            return lambda joined: first
        bad = next((v for v in values if isinstance(v, Poison)), None)
        if bad is not None:
            return lambda joined: bad
        if all(isinstance(v, torch.Tensor) for v in values):
            return self._merge_tensors(values, name)
        if all(_is_optional(v) for v in values):
            return self._merge_optional(values, name)
        if all(isinstance(v, Varying) or plain_kind(v) is not None for v in values):
            return self._merge_plain(values, name)
        if any(isinstance(v, torch.SymInt) for v in values):
            if all(isinstance(v, torch.SymInt | int) and statically_known_true(v == first) for v in values):
                return lambda joined: first
            return self._poison(name, "one size", "different sizes", "make the branches keep the shapes")
        if all(isinstance(v, Drawn) and v.values.shape == first.values.shape for v in values):
            return self._merge_drawn(values, name)
        kinds = {type(v) for v in values}
        if len(kinds) > 1:
            got = " and ".join(sorted({_shown(v) for v in values}))
            return self._poison(name, "one type", got, "leave a value of the same type in every branch")
        return self._merge_structure(values, name)

    def _poison(self, name: str, expected: str, got: str, do: str) -> Build:
        poison = Poison(f"{expected} of {name} after the branches of {self.line}", got, do)
        return lambda joined: poison

    def _merge_tensors(self, values: Sequence[torch.Tensor], name: str) -> Build:
        first = values[0]
        for other in values[1:]:
            if other.dtype != first.dtype:
                return self._poison(name, "one dtype", f"{first.dtype} and {other.dtype}", "cast one of them")
            if other.dim() != first.dim() or not all(
                statically_known_true(a == b) for a, b in zip(first.shape, other.shape, strict=True)
            ):
                got = f"{list(first.shape)} and {list(other.shape)}"
                return self._poison(name, "one shape", got, "make the branches leave the same shape")
        return self._tensor(values)

    def _merge_optional(self, values: Sequence[Any], name: str) -> Build:
        """A tensor, or None: which of them varies; where it is None the tensor is zeros, never read."""
        leaves = [dd.leaves(v.diagram) if isinstance(v, Varying) else [v] for v in values]
        tensors = [next((leaf for leaf in few if leaf is not None), None) for few in leaves]
        given = next(t for t in tensors if t is not None)
        filled = [self._zeros(given, branch) if t is None else t for branch, t in enumerate(tensors)]
        tensor = self._merge_tensors(filled, name)
        there = [dd.apply(lambda v: v is not None, v.diagram if isinstance(v, Varying) else dd.Leaf(v)) for v in values]
        held = dd.choose(self.which, there)

        def build(joined: Sequence[torch.Tensor]) -> Any:
            made = tensor(joined)
            return (
                made if isinstance(made, Poison) else plain(dd.apply(lambda is_there: made if is_there else None, held))
            )

        return build

    def _zeros(self, given: Any, branch: int) -> Any:
        """Zeros in the place of tensors that a branch does not have."""
        with self.tracing.recorder.inside(self.number, branch):
            return pytree.tree_map_only(torch.Tensor, lambda t: torch.zeros(t.shape, dtype=t.dtype), given)

    def _merge_plain(self, values: Sequence[Any], name: str) -> Build:
        leaves = [leaf for v in values for leaf in (dd.leaves(v.diagram) if isinstance(v, Varying) else [v])]
        kinds = {plain_kind(leaf) for leaf in leaves}
        if len(kinds) > 1 or None in kinds:
            got = " and ".join(sorted({_shown(leaf) for leaf in leaves}))
            return self._poison(name, "one type", got, "leave a value of the same type in every branch")
        merged = dd.choose(self.which, [v.diagram if isinstance(v, Varying) else dd.Leaf(v) for v in values])
        return lambda joined: plain(merged)

    def _merge_drawn(self, values: Sequence[Drawn], name: str) -> Build:
        columns = [
            self.merge(list(column), name) for column in zip(*(v.values.reshape(-1) for v in values), strict=True)
        ]

        def build(joined: Sequence[torch.Tensor]) -> Any:
            array = np.empty(len(columns), dtype=object)
            for i, column in enumerate(columns):
                array[i] = column(joined)
            return Drawn(array.reshape(values[0].values.shape), values[0].like)

        return build

    def _merge_structure(self, values: Sequence[Any], name: str) -> Build:
        first = values[0]
        if isinstance(first, tuple | list) and all(len(v) == len(first) for v in values):
            items = [self.merge(column, f"element {i} of {name}") for i, column in enumerate(zip(*values, strict=True))]
            return lambda joined: _like(first, [item(joined) for item in items])
        if isinstance(first, dict) and all(list(v) == list(first) for v in values):
            parts = {k: self.merge([v[k] for v in values], f"entry {k!r} of {name}") for k in first}
            return lambda joined: _filled(first, {k: part(joined) for k, part in parts.items()})
        if dataclasses.is_dataclass(first) and not isinstance(first, type):
            fields = {
                f.name: self.merge([getattr(v, f.name) for v in values], f"{name}.{f.name}")
                for f in dataclasses.fields(first)
            }

            def build(joined: Sequence[torch.Tensor]) -> Any:
                made = copy.copy(first)
                for key, part in fields.items():
                    object.__setattr__(made, key, part(joined))
                return made

            return build
        if isinstance(first, Uniform):
            return self._poison(name, "one draw", "different draws", "draw before the branches")
        got = " and ".join(_shown(v) for v in values[:2])
        return self._poison(name, "one type and length", got, "leave values of one structure")


def _is_optional(value: Any) -> bool:
    """Whether a value is one tensor, None, or the one or the other."""
    leaves = dd.leaves(value.diagram) if isinstance(value, Varying) else [value]
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return len(tensors) <= 1 and all(leaf is None or isinstance(leaf, torch.Tensor) for leaf in leaves)


def _like(first: Any, items: list[Any]) -> Any:
    if hasattr(first, "_fields"):
        return type(first)(*items)
    return type(first)(items)


def _filled(first: dict[Any, Any], items: dict[Any, Any]) -> Any:
    made = copy.copy(first)
    for key, value in items.items():
        made[key] = value
    return made


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, bool | int | float | str) or value is None:
        return f"{type(value).__name__} {value!r}"
    return f"a {type(value).__name__}"
