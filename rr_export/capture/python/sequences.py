"""Sequences in which elements may be there on some paths only."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.source_code import wants_interpreter
from rr_export.capture.python.values import Caller, Sifted, UniformDraw, Varying, is_plain, settled
from rr_export.capture.python.whereabouts import Whereabouts

_READ = ("index", "count")
_ADD = ("append", "extend")  # methods of lists that take elements of any kind
_CHANGE = ("pop", "insert", "remove", "reverse", "sort", "clear")  # others, which change a list


class Sequences:
    """Loops over sequences, and adds to them.

    Args:
        memory: what is read.
        whereabouts: where the code is.
        branching: asks whether an element is there.
        call: how an object's own ``__iter__``, and a layer, is called.
    """

    def __init__(self, memory: Memory, whereabouts: Whereabouts, branching: Branching, call: Caller) -> None:
        self._memory, self._whereabouts, self._branching, self._call = memory, whereabouts, branching, call

    def iterated(self, iterable: Any) -> Any:
        """Returns what an object's own ``__iter__`` gives, where that may decide."""
        method = getattr(type(iterable), "__iter__", None)
        if isinstance(method, types.FunctionType) and wants_interpreter(method):
            return self._call(method, (iterable,), {})
        return iterable

    def elements(self, iterable: Any) -> Iterator[tuple[Any, Any]]:
        """Yields what to loop over, each element with whether it is there."""
        value = settled(self.iterated(iterable))
        if isinstance(value, Sifted):
            yield from value.elements
        elif isinstance(value, Varying | UniformDraw):
            self._whereabouts.refuse(
                "a list whose length is the same on every path", "one that varies", "write a loop with break instead"
            )
        else:
            yield from ((True, self._memory.read(item)) for item in value)

    def extend(self, store: list[Any], more: Any) -> None:
        """Adds elements to a list, of which some may be there on some paths only."""
        added = list(self.elements(more))
        if all(there is True for there, _ in added):
            store.extend(value for _, value in added)
        else:
            self._memory.hold([*((True, value) for value in store), *added], store)

    def call_method(self, owner: Sifted, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Returns what a method of a sequence gives whose length varies."""
        if name == "copy":
            return self._memory.hold(owner.elements)
        if name in _READ:
            return call_plain(getattr(list, name), owner.whole(), *args)
        if owner.origin is None or name not in (*_ADD, *_CHANGE) or kwargs:
            self._memory.refuse_varying_length(f".{name}()")
        if name in _CHANGE:
            return self._memory.change(owner, f".{name}()", getattr(list, name), args)
        added = [(True, args[0])] if name == "append" else list(self.elements(args[0]))
        self._memory.hold([*owner.elements, *added], owner.origin)
        return None

    def chained(self, layers: Sifted) -> Callable[[Any], Any]:
        """Returns what ``nn.Sequential(*layers)`` is where some of them are there on some paths only."""

        def after(x: Any, layer: Any, held: bool) -> Any:
            return self._call(layer, (x,), {}) if held else x

        def forward(x: Any) -> Any:
            for there, layer in layers.elements:
                condition = self._branching.as_condition(there)
                x = self._branching.branch(condition, functools.partial(after, x, layer))
            return x

        return forward

    def check_element(self, there: Any, value: Any) -> None:
        """Raises if an element is there on some paths only, and is computed."""
        if there is not True and not is_plain(value):
            self._whereabouts.refuse(
                "a list whose length is the same on every path",
                f"one of {type(value).__name__} elements that a decision filters",
                "write a loop that skips the element with continue",
            )
