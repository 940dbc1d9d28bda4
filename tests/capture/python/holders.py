"""Holders of a probability, of every kind: how each is made, changed in a branch, and read."""

from __future__ import annotations

import array
import ctypes
import enum
import functools
import io
import logging
import os
import threading
import types
import weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(slots=True)
class Slots:
    p: float = 0.25


@dataclass(slots=True, frozen=True)
class Frozen:
    p: float = 0.25


class Private:
    __slots__ = ("__p",)

    def __init__(self) -> None:
        self.__p = 0.25

    def put(self, p: float) -> None:
        self.__p = p

    def get(self) -> float:
        return self.__p


def cell() -> tuple[Callable[[], float], Callable[[float], None]]:
    p = 0.25

    def get() -> float:
        return p

    def put(value: float) -> None:
        nonlocal p
        p = value

    return get, put


def made_inside() -> Any:
    def inside() -> None:
        pass

    inside.p = 0.25  # type: ignore[attr-defined]
    return inside


def with_default() -> Any:
    def inside(value: float | None = None, held: list[float] = [0.25]) -> float:  # noqa: B006 (what is tried)
        if value is not None:
            held[0] = value
        return held[0]

    return inside


@functools.lru_cache
def remembered() -> list[float]:
    return [0.25]


class Held:
    def __init__(self) -> None:
        self._p = 0.25

    @property
    def p(self) -> float:
        return self._p

    @p.setter
    def p(self, value: float) -> None:
        self._p = value


class Number(float):
    p: float


class Kind(enum.IntEnum):
    ONE = 1


class Light:
    p = 0.25


class Heavy:
    p = 0.75


def made_local() -> Any:
    local = threading.local()
    local.p = 0.25
    return local


def made_weak() -> Any:
    entries: Any = weakref.WeakKeyDictionary()
    entries[Light] = 0.25
    return entries


def returning_default() -> Any:
    def inside(value: float = 0.25, *, more: float = 0.0) -> float:
        return value + more

    return inside


def made_stream() -> Any:
    stream = io.StringIO("ab")
    stream.read(1)
    return stream


def set_setting(holder: Any, value: float) -> None:
    os.environ["RR_TRIED"] = str(value)


def set_global(holder: Any, value: float) -> None:
    globals()["tried_global"] = value


def put(holder: Any, value: float) -> None:
    holder.p = value


def set_class(holder: Any) -> None:
    holder.__class__ = Heavy


def set_defaults(holder: Any, value: float) -> None:
    holder.__defaults__ = (value,)


def put_entry(holder: Any, value: float) -> None:
    holder["p"] = value


def put_first(holder: Any, value: float) -> None:
    holder[0] = value


# how the holder of a probability is made, changed in a branch, and read
Way = tuple[Callable[[], Any], Callable[[Any, float], None], Callable[[Any], Any]]
FOLLOWED: dict[str, Way] = {
    "slots": (Slots, put, lambda h: h.p),
    "frozen slots": (Frozen, lambda h, v: object.__setattr__(h, "p", v), lambda h: h.p),
    "private slot": (Private, lambda h, v: h.put(v), lambda h: h.get()),
    "property": (Held, put, lambda h: h.p),
    "__dict__": (lambda: types.SimpleNamespace(p=0.25), lambda h, v: h.__dict__.update(p=v), lambda h: h.p),
    "setattr": (Held, lambda h, v: setattr(h, "p", v), lambda h: h.p),
    "dict": (lambda: {"p": 0.25}, put_entry, lambda h: h["p"]),
    "ordered dict": (lambda: OrderedDict(p=0.25), put_entry, lambda h: h["p"]),
    "default dict": (lambda: defaultdict(float, p=0.25), put_entry, lambda h: h["p"]),
    "counter": (lambda: Counter(p=0.25), put_entry, lambda h: h["p"]),  # type: ignore[arg-type]
    "user dict": (lambda: UserDict(p=0.25), put_entry, lambda h: h["p"]),
    "chain map": (lambda: ChainMap({"p": 0.25}), put_entry, lambda h: h["p"]),
    "list in a tuple": (lambda: ([0.25],), lambda h, v: put_first(h[0], v), lambda h: h[0][0]),
    "attribute of a closure": (lambda: made_inside(), put, lambda h: h.p),
    "default of a closure": (lambda: with_default(), lambda h, v: h(v), lambda h: h()),
    "variable of a closure": (cell, lambda h, v: h[1](v), lambda h: h[0]()),
    "thread's own": (made_local, put, lambda h: h.p),
    "level of a logger": (
        lambda: logging.Logger("tried"),
        lambda h, v: h.setLevel(10),
        lambda h: 0.75 if h.level else 0.25,
    ),
    "keywords of a partial call": (
        lambda: functools.partial(returning_default(), value=0.25),
        lambda h, v: h.keywords.update(value=v),
        lambda h: h.func(**h.keywords),
    ),
    "weak keys": (made_weak, lambda h, v: h.__setitem__(Light, v), lambda h: h[Light]),
}
REFUSED: dict[str, Way] = {
    "numpy": (lambda: np.array([0.25]), put_first, lambda h: h[0]),
    "numpy, by a function": (lambda: np.array([0.25]), lambda h, v: np.copyto(h, v), lambda h: h[0]),
    "numpy of objects": (lambda: np.array([0.25], dtype=object), put_first, lambda h: h[0]),
    "a view": (lambda: np.full((2, 2), 0.25), lambda h, v: put_first(h[1], v), lambda h: h[1, 0]),
    "array": (lambda: array.array("d", [0.25]), put_first, lambda h: h[0]),
    "bytearray": (lambda: bytearray(b"\x19"), lambda h, v: put_first(h, int(v * 100)), lambda h: h[0] / 100),
    "memoryview": (lambda: memoryview(bytearray(b"\x19")), lambda h, v: put_first(h, 75), lambda h: h[0] / 100),
    "deque": (lambda: deque([0.25]), put_first, lambda h: h[0]),
    "set": (set, lambda h, v: h.add(v), lambda h: 0.75 if h else 0.25),
    "context variable": (lambda: ContextVar("p", default=0.25), lambda h, v: h.set(v), lambda h: h.get()),
    "iterator": (lambda: iter(b"\x19\x4b"), lambda h, v: h.__next__(), lambda h: h.__next__() / 100),
    "tensor": (lambda: torch.tensor([0.25]), lambda h, v: h.fill_(v), lambda h: h[0]),
    "tensor, through .data": (lambda: torch.tensor([0.25]), lambda h, v: h.data.fill_(v), lambda h: h[0]),
    "tensor, an entry": (lambda: torch.tensor([0.25]), put_first, lambda h: h[0]),
    "subclass of a number": (lambda: Number(0.25), put, lambda h: getattr(h, "p", 0.25)),
    "member of an enumeration": (lambda: Kind.ONE, put, lambda h: getattr(h, "p", 0.25)),
    "attribute of a tensor": (lambda: torch.ones(2), put, lambda h: getattr(h, "p", 0.25)),
    "whether a tensor asks for gradients": (
        lambda: torch.ones(2),
        lambda h, v: h.requires_grad_(),
        lambda h: 0.75 if h.requires_grad else 0.25,
    ),
    "class": (Light, lambda h, v: setattr(h, "__class__", Heavy), lambda h: h.p),
    "class, by assignment": (Light, lambda h, v: set_class(h), lambda h: h.p),
    "defaults": (returning_default, lambda h, v: set_defaults(h, v), lambda h: h()),
    "stream": (made_stream, lambda h, v: h.seek(0), lambda h: 0.25 if h.tell() else 0.75),
    "whether gradients are computed": (
        object,
        lambda h, v: torch.set_grad_enabled(True),
        lambda h: 0.75 if torch.is_grad_enabled() else 0.25,
    ),
    "default dtype": (object, lambda h, v: torch.set_default_dtype(torch.float64), lambda h: 0.25),
    "environment": (object, set_setting, lambda h: float(os.environ.get("RR_TRIED", "0.25"))),
    "environment, by a method": (object, lambda h, v: os.environ.update(RR_TRIED="1"), lambda h: 0.25),
    "globals": (object, set_global, lambda h: globals().get("tried_global", 0.25)),
    "globals, by a method": (object, lambda h, v: globals().update(tried_global=v), lambda h: 0.25),
    "ctypes": (lambda: (ctypes.c_float * 1)(0.25), put_first, lambda h: h[0]),
    "deleted": (lambda: {"p": 1}, lambda h, v: h.clear(), lambda h: 0.25 if h else 0.75),
}
