"""One value that stands for those of all branches of a decision.

Tensors become the results of the decision's marker; plain values become varying ones. What cannot be one value, such as
tensors of different shapes, may lie around, but not be read.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.cursors import Cursor
from rr_export.capture.python.decisions import Line
from rr_export.capture.python.memory import Moment
from rr_export.capture.python.plain_access import attributes_of, contents, new_like
from rr_export.capture.python.ragged import Element, aligned, readable
from rr_export.capture.python.scalars import are_scalars, is_scalar, scalar
from rr_export.capture.python.shapes import are_tensors, is_apart
from rr_export.capture.python.values import (
    Drawn,
    Poison,
    Sifted,
    UniformDraw,
    Varying,
    at_hand,
    leaves_of,
    plain,
    plain_kind,
)
from rr_export.eager.skip_results import same_shape

_MISSING = object()
Build = Callable[[Sequence[torch.Tensor]], Any]  # from the results of the marker to the value


class Merger:
    """Merges values of the branches of one decision.

    Args:
        which: from decisions to the position of the branch.
        line: of the decision.
        inside: around what is computed in the branch of a position.
        one_of: makes one value of tensors that may have different shapes, from decisions to them.
        after: what there was after each branch.
        hold: makes a list of elements that are there on some paths only.

    Attributes:
        tensors: the operands of the marker so far: for each of its results, the tensor of every branch.
        copies: the containers that were made to stand for several ones, with those, by what those are.
    """

    def __init__(
        self,
        which: dd.Diagram,
        line: Line,
        inside: Callable[[int], AbstractContextManager[None]],
        one_of: Callable[[dd.Diagram], Any],
        after: Sequence[Moment],
        hold: Callable[[Sequence[Element]], list[Any]],
    ) -> None:
        self._which, self._line, self._inside, self._one_of = which, line, inside, one_of
        self._after, self._hold = after, hold
        self.tensors: list[tuple[torch.Tensor, ...]] = []
        self.copies: dict[tuple[int, ...], tuple[Any, Sequence[Any]]] = {}

    def merge(self, values: Sequence[Any], name: str) -> Build:
        """Returns how to make the one value that stands for those of the branches."""
        if any(isinstance(v, Drawn) for v in values) and not all(isinstance(v, Drawn) for v in values):
            values = [v.item() if isinstance(v, Drawn) and v.values.size == 1 else v for v in values]
        values = [v.origin if isinstance(v, Sifted) and v.origin is not None else v for v in values]
        first = values[0]
        if all(v is first for v in values):
            return lambda joined: first
        bad = next((v for v in values if isinstance(v, Poison)), None)
        if bad is not None:
            return lambda joined: bad
        if are_scalars((leaf for v in values for leaf in leaves_of(v)), sizes=False):
            return self._merge_scalars(values, name)
        if all(isinstance(v, torch.Tensor) for v in values):
            return self._merge_tensors(values, name)
        if are_tensors(values) and any(isinstance(v, torch.Tensor) or is_apart(v) for v in values):
            return self._merge_apart(values, name)
        if _are_optional(values):
            return self._merge_optional(values, name)
        if all(isinstance(v, Varying) or plain_kind(v) is not None for v in values):
            return self._merge_plain(values, name)
        if any(isinstance(v, torch.SymInt) for v in values):
            if all(isinstance(v, torch.SymInt | int) and statically_known_true(v == first) for v in values):
                return lambda joined: first
            return self._poison(name, "one size", "different sizes", "make the branches keep the shapes")
        if all(isinstance(v, Drawn) and v.values.shape == first.values.shape for v in values):
            return self._merge_drawn(values, name)
        if all(type(v) is list for v in values):
            lists = [moment.elements(v) for moment, v in zip(self._after, values, strict=True)]
            if len(set(map(len, lists))) > 1 or any(held is not True for one in lists for held, _ in one):
                return self._merge_ragged(values, lists)
        kinds = {type(v) for v in values}
        if len(kinds) > 1:
            got = " and ".join(sorted({_shown(v) for v in values}))
            return self._poison(name, "one type", got, _way_out(values))
        return self._merge_structure(values, name)

    def _poison(self, name: str, expected: str, got: str, do: str) -> Build:
        poison = Poison(f"{expected} of {name} after the branches of {self._line}", got, do)
        return lambda joined: poison

    def _merge_tensors(self, values: Sequence[torch.Tensor], name: str) -> Build:
        first = values[0]
        if not all(other.dtype == first.dtype and same_shape(first, other) for other in values[1:]):
            return self._merge_apart(values, name)
        return self._operands(values)

    def _merge_apart(self, values: Sequence[Any], name: str) -> Build:
        """Tensors of different shapes: which of them it is varies."""
        chosen = dd.choose(self._which, [v.diagram if isinstance(v, Varying) else dd.Leaf(v) for v in values])
        kinds = list(dict.fromkeys(at_hand(leaf).dtype for leaf in dd.leaves(chosen)))
        if len(kinds) > 1:
            return self._poison(name, "one dtype", f"{kinds[0]} and {kinds[1]}", "cast one of them")
        return lambda joined: self._one_of(chosen)

    def _merge_optional(self, values: Sequence[Any], name: str) -> Build:
        """Something with tensors, or None: which of them varies; where it is None the tensors are zeros, never read."""
        leaves = list(map(leaves_of, values))
        found = [next((leaf for leaf in few if leaf is not None), None) for few in leaves]
        given = next(one for one in found if one is not None)
        filled = [self.zeros(given, branch) if one is None else one for branch, one in enumerate(found)]
        merged = self.merge(filled, name)
        there = [dd.apply(lambda v: v is not None, v.diagram if isinstance(v, Varying) else dd.Leaf(v)) for v in values]
        held = dd.choose(self._which, there)

        def build(joined: Sequence[torch.Tensor]) -> Any:
            made = merged(joined)
            if isinstance(made, Poison):
                return made
            made_ = made.diagram if isinstance(made, Varying) else dd.Leaf(made)
            return plain(dd.apply(lambda is_there, one: one if is_there else None, held, made_))

        return build

    def _merge_scalars(self, values: Sequence[Any], name: str) -> Build:
        """Numbers, of which some were read out of tensors: those become one, which it is varies."""
        read = [[leaf for leaf in leaves_of(v) if is_scalar(leaf)] for v in values]
        if any(len(few) > 1 for few in read):
            return self._poison(name, "one number", "one of several that were read", "choose with torch.where")
        kind = functools.reduce(torch.promote_types, (few[0].dtype for few in read if few))
        cast = []
        for branch, few in enumerate(read):
            with self._inside(branch):
                cast.append(few[0].to(kind) if few else torch.zeros((), dtype=kind))
        build = self._operands(cast)

        def choose(joined: Sequence[torch.Tensor]) -> Any:
            made = scalar(build(joined))
            forms = [v.diagram if isinstance(v, Varying) else dd.Leaf(v) for v in values]
            return plain(dd.choose(self._which, [dd.apply(lambda v: made if is_scalar(v) else v, f) for f in forms]))

        return choose

    def zeros(self, given: Any, branch: int) -> Any:
        """Returns zeros in the place of tensors that a branch does not have."""
        with self._inside(branch):
            return _zeros_like(given)

    def _merge_plain(self, values: Sequence[Any], name: str) -> Build:
        leaves = [leaf for v in values for leaf in leaves_of(v)]
        kinds = {plain_kind(leaf) for leaf in leaves}
        if None in kinds or (len(kinds) > 1 and "tensor" in kinds):
            got = " and ".join(sorted({_shown(leaf) for leaf in leaves}))
            return self._poison(name, "one type", got, "leave a value of the same type in every branch")
        merged = dd.choose(self._which, [v.diagram if isinstance(v, Varying) else dd.Leaf(v) for v in values])
        return lambda joined: plain(merged)

    def _merge_drawn(self, values: Sequence[Drawn], name: str) -> Build:
        columns = [
            self.merge(list(column), name) for column in zip(*(v.values.reshape(-1) for v in values), strict=True)
        ]

        def build(joined: Sequence[torch.Tensor]) -> Any:
            array = np.empty(len(columns), dtype=object)
            for i, column in enumerate(columns):
                array[i] = column(joined)
            return values[0].viewed(array.reshape(values[0].values.shape))

        return build

    def _merge_structure(self, values: Sequence[Any], name: str) -> Build:
        first = values[0]
        held = self._held(values) if isinstance(first, tuple | list | dict) else []
        if isinstance(first, tuple | list) and all(len(one) == len(held[0]) for one in held):
            columns = enumerate(zip(*held, strict=True))
            items = [self.merge(column, f"element {i} of {name}") for i, column in columns]
            own = self._merge_attributes(values, {}, name)
            return self._copying(
                values, lambda joined: _like(first, [item(joined) for item in items], _built(own, joined))
            )
        if isinstance(first, dict) and all(list(one) == list(held[0]) for one in held):
            entries = {k: [one[k] for one in held] for k in held[0]}
            parts = {k: self.merge(column, f"entry {k!r} of {name}") for k, column in entries.items()}
            own = self._merge_attributes(values, {k: (entries[k], parts[k]) for k in entries}, name)
            return self._copying(values, lambda joined: new_like(first, _built(parts, joined), _built(own, joined)))
        if dataclasses.is_dataclass(first) and not isinstance(first, type):
            fields = {
                f.name: self.merge([getattr(v, f.name) for v in values], f"{name}.{f.name}")
                for f in dataclasses.fields(first)
            }

            return self._copying(values, lambda joined: _with_fields(first, _built(fields, joined)))
        if isinstance(first, functools.partial) and all(_is_alike(first, v) for v in values[1:]):
            given = self.merge([v.args for v in values], f"the arguments of {name}")
            named = self.merge([v.keywords for v in values], f"the arguments of {name}")
            return lambda joined: functools.partial(first.func, *given(joined), **named(joined))
        if isinstance(first, UniformDraw):
            return self._poison(name, "one draw", "different draws", "draw before the branches")
        got = " and ".join(_shown(v) for v in values[:2])
        do = "leave values of one structure; objects that there were before are chosen by an index, [a, b][i]"
        return self._poison(name, "one type and length", got, do)

    def _held(self, values: Sequence[Any]) -> list[Any]:
        """What containers, or the attributes of objects, held after their branches."""
        return [moment.held(v) for moment, v in zip(self._after, values, strict=True)]

    def _merge_ragged(self, values: Sequence[Any], lists: Sequence[Sequence[Element]]) -> Build:
        """Lists that do not have as many elements."""
        elements = self.align(lists)
        return self._copying(values, lambda joined: self._hold(elements))

    def align(self, lists: Sequence[Sequence[Element]]) -> list[Element]:
        """Returns the elements of one list for those of all branches."""
        here = [dd.apply(lambda v, b=branch: v == b, self._which) for branch in range(len(lists))]
        return readable(aligned(list(zip(here, lists, strict=True))))

    def _copying(self, values: Sequence[Any], build: Build) -> Build:
        """A new container in the place of several ones; the same wherever these are the same."""
        key = tuple(map(id, values))

        def copied(joined: Sequence[torch.Tensor]) -> Any:
            if key not in self.copies:
                self.copies[key] = build(joined), values
            return self.copies[key][0]

        return copied

    def _merge_attributes(
        self, values: Sequence[Any], known: Mapping[Any, tuple[Sequence[Any], Build]], name: str
    ) -> dict[str, Build]:
        """The attributes of containers; those that are entries too are not merged twice."""
        owns = self._held([{} if (own := attributes_of(v)) is None or own is v else own for v in values])
        found: dict[str, Build] = {}
        for key in {k: None for own in owns for k in own}:
            column = [own.get(key, _MISSING) for own in owns]
            if key in known and all(a is b for a, b in zip(column, known[key][0], strict=True)):
                found[key] = known[key][1]
            elif any(v is _MISSING for v in column):
                found[key] = self._poison(f"{name}.{key}", "one value", "one that only some set", "set it in all")
            else:
                found[key] = self.merge(column, f"{name}.{key}")
        return found

    def merge_gate(self, gate: torch.Tensor, branch: int, count: int) -> Build:
        """Returns how to make the one value of a condition that one branch alone asks; elsewhere it is false."""
        operands = []
        for k in range(count):
            with self._inside(k):
                operands.append(gate if k == branch else torch.zeros((), dtype=torch.bool))
        return self._operands(operands)

    def _operands(self, tensors: Sequence[torch.Tensor]) -> Build:
        self.tensors.append(tuple(tensors))
        position = len(self.tensors) - 1
        return lambda joined: joined[position]


def _way_out(values: Sequence[Any]) -> str:
    """What to do where the values are of several types."""
    if any(isinstance(v, Cursor) for v in values):
        return "leave a value of the same type in every branch, such as list(...) of each"
    if any(isinstance(v, torch.Tensor) and v.dim() == 0 for v in values):
        return (
            "leave a value of the same type in every branch; a number of the input is no index: compare it, `for i, e "
            "in enumerate(experts): if k == i: x = e(x)`, in the branch that has it"
        )
    return "leave a value of the same type in every branch"


def _are_optional(values: Sequence[Any]) -> bool:
    """Whether each is something with tensors, None, or the one or the other, and what is something is of one kind."""
    leaves = list(map(leaves_of, values))
    given = [leaf for few in leaves for leaf in few if leaf is not None]
    kinds = {torch.Tensor if isinstance(leaf, torch.Tensor) else type(leaf) for leaf in given}
    single = all(sum(leaf is not None for leaf in few) <= 1 for few in leaves)
    return single and 0 < len(given) < sum(map(len, leaves)) and len(kinds) == 1 and _has_parts(given[0])


def _has_parts(value: Any) -> bool:
    """Whether a value is a tensor, or is merged part by part."""
    fielded = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return fielded or isinstance(value, torch.Tensor | tuple | list | dict)


def _zeros_like(value: Any) -> Any:
    """A copy of a value with zeros in the place of all tensors."""
    if isinstance(value, torch.Tensor):
        return torch.zeros(value.shape, dtype=value.dtype)
    if isinstance(value, tuple | list):
        return _like(value, [_zeros_like(item) for item in contents(value)], {})
    if isinstance(value, dict):
        return new_like(value, {key: _zeros_like(item) for key, item in contents(value).items()}, {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _with_fields(value, {f.name: _zeros_like(getattr(value, f.name)) for f in dataclasses.fields(value)})
    return value


def _with_fields(value: Any, fields: Mapping[str, Any]) -> Any:
    """A copy of an object with other values in these fields, which may be those of a frozen one."""
    made = copy.copy(value)
    for key, held in fields.items():
        object.__setattr__(made, key, held)
    return made


def _is_alike(one: functools.partial[Any], other: functools.partial[Any]) -> bool:
    """Whether two partial calls are of one function, with as many arguments, and the same keywords."""
    if len(one.args) != len(other.args) or list(one.keywords) != list(other.keywords):
        return False
    if isinstance(one.func, types.MethodType) and isinstance(other.func, types.MethodType):
        return one.func.__func__ is other.func.__func__ and one.func.__self__ is other.func.__self__
    return one.func is other.func


def _like(first: Any, items: list[Any], attributes: dict[str, Any]) -> Any:
    if isinstance(first, list):
        return new_like(first, items, attributes)
    return type(first)(*items) if hasattr(type(first), "_fields") else type(first)(items)


def _built(parts: Mapping[Any, Build], joined: Sequence[torch.Tensor]) -> dict[Any, Any]:
    return {key: part(joined) for key, part in parts.items()}


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(contents(value))}"
    if isinstance(value, Varying):
        return "a value that depends on a decision"
    if isinstance(value, bool | int | float | str) or value is None:
        return f"{type(value).__name__} {value!r}"
    return "an iterator" if isinstance(value, Cursor) else f"a {type(value).__name__}"
