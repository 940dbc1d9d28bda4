"""Looking at containers and objects runs no code of their classes."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import pytest

from rr_export.capture.python.plain_access import attributes_of, contents, look, mark_of, new_like, put, refill


def hostile(base: Any) -> Any:
    """A subclass of which every method raises."""

    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("looked at")

    names = ("__iter__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__len__", "__eq__", "__init__")
    more = ("copy", "items", "keys", "values", "get", "update", "extend", "clear", "add", "append", "__getattr__")
    return type(
        "Hostile", (base,), {name: fail for name in (*names, *more) if name == "__getattr__" or hasattr(base, name)}
    )


DICTS = [dict, OrderedDict, defaultdict, Counter]


@pytest.mark.parametrize("base", [*DICTS, list, deque, set])
def test_hostile_containers_are_read_and_restored(base: Any) -> None:
    kind = hostile(base)
    store = base.__new__(kind)
    before: Any = {"b": 1, "a": 2} if issubclass(base, dict) else {1, 2} if base is set else [1, 2, 1]
    refill(store, before)
    assert contents(store) == before
    assert type(contents(store)) is type(before)
    after: Any = {"a": 3, "c": 4} if issubclass(base, dict) else {5} if base is set else [7]
    refill(store, after)
    assert contents(store) == after
    refill(store, before)
    assert contents(store) == before


def test_an_ordered_dictionary_stays_whole() -> None:
    store = OrderedDict(a=1, b=2)
    store.move_to_end("a")
    kept = contents(store)
    store.clear()
    refill(store, kept)
    assert list(store) == ["b", "a"] == list(reversed(list(reversed(store))))


@pytest.mark.parametrize("base", [*DICTS, list])
def test_one_of_the_same_class_is_made(base: Any) -> None:
    kind = hostile(base)
    first = base.__new__(kind)
    content: Any = {"a": 1} if issubclass(base, dict) else [1]
    made = new_like(first, content, {"seen": 3})
    assert type(made) is kind
    assert contents(made) == content
    assert attributes_of(made) == {"seen": 3}
    put(made, "a" if issubclass(base, dict) else 0, 2)
    assert list(contents(made).values() if issubclass(base, dict) else contents(made)) == [2]


def test_attributes_are_looked_up_without_the_code_of_a_class() -> None:
    class Lazy:
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

        def __getattribute__(self, name: str) -> Any:
            raise ImportError(name)

    value = Lazy()
    object.__setattr__(value, "there", 1)
    assert look(value, "there") == 1
    assert look(value, "__self__", "none") == "none"
    assert attributes_of(value) == {"there": 1}
    assert attributes_of(3) is None
    assert look([].append, "__name__") == "append"


def test_marks_are_those_of_plain_functions() -> None:
    def marked() -> None: ...

    marked.mark = 1  # type: ignore[attr-defined]
    assert mark_of(marked, "mark") == 1
    assert mark_of(hostile(dict), "mark") is None
