"""Containers and attributes as they are, past what the classes of a model's author override.

Looking at somebody's objects must not run somebody's code: a ``get`` of another signature, a ``__getattr__`` that
raises or imports, a ``__setitem__`` that checks.
"""

from __future__ import annotations

import threading
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, MutableMapping
from typing import Any

import numpy as np

_KINDS: tuple[Any, ...] = (OrderedDict, defaultdict, dict, list, deque, set, frozenset, tuple)


def _kind(store: Any) -> Any:
    """The class whose methods keep the entries."""
    return next((kind for kind in _KINDS if issubclass(type(store), kind)), type(store))


def contents(store: Any) -> Any:
    """Returns a plain copy of a dictionary, list, deque, set or array."""
    if isinstance(store, np.ndarray):
        return store.copy()
    kind = _kind(store)
    if issubclass(kind, (dict, MutableMapping)):
        return dict(kind.items(store))
    return (list if kind is deque else kind)(kind.__iter__(store))


def put(store: Any, key: Any, value: Any) -> None:
    """A dictionary or list holds another value at a key or position."""
    _kind(store).__setitem__(store, key, value)


def refill(store: Any, content: Any) -> None:
    """A dictionary, list, deque, set or array holds this content, and nothing else."""
    kind = _kind(store)
    if issubclass(kind, (dict, MutableMapping)):
        _refill_dict(kind, store, content)
    elif kind in (list, np.ndarray):
        kind.__setitem__(store, slice(None), content)
    elif not same_objects(contents(store), content):
        kind.clear(store)
        (set.update if kind is set else deque.extend)(store, content)


def _refill_dict(kind: Any, store: Any, content: dict[Any, Any]) -> None:
    before = dict(kind.items(store))
    if list(before) != list(content):
        for key in before:
            if key not in content:
                kind.__delitem__(store, key)
    for key, value in content.items():
        if key not in before or before[key] is not value:
            kind.__setitem__(store, key, value)


def same_objects(left: Any, right: Any) -> bool:
    """Returns whether two plain sets or lists hold the same objects."""
    if isinstance(left, set):
        return bool(left == right)
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


def new_like(first: Any, content: Iterable[Any] | dict[Any, Any], attributes: dict[str, Any]) -> Any:
    """Returns a dictionary or list of the class of another one, without running the code of that class."""
    kind = _kind(first)
    made = kind.__new__(type(first))
    if kind is defaultdict:
        made.default_factory = first.default_factory
    if issubclass(kind, dict):
        for key, value in dict(content).items():
            kind.__setitem__(made, key, value)
    else:
        kind.extend(made, content)
    own = attributes_of(made)
    if own is not None and own is not made:
        own.update(attributes)
    return made


def attributes_of(value: Any) -> dict[str, Any] | None:
    """Returns the dictionary in which an object keeps its attributes; None where it has none."""
    try:
        kind = threading.local if issubclass(type(value), threading.local) else object
        found = kind.__getattribute__(value, "__dict__")
    except Exception:  # of whatever a class makes of this name
        return None
    return found if isinstance(found, dict) else None


def look(value: Any, name: str, default: Any = None) -> Any:
    """Returns an attribute of a value of any kind; the default where only its class's own code could say."""
    overridden = any(
        isinstance(vars(c).get(method), types.FunctionType)
        for c in type(value).__mro__
        for method in ("__getattr__", "__getattribute__")
    )
    if not overridden:
        return getattr(value, name, default)
    try:
        return object.__getattribute__(value, name)
    except Exception:  # of whatever a class makes of this name
        return default


def mark_of(function: Any, name: str, default: Any = None) -> Any:
    """Returns an attribute that was set on a plain function; the default for everything else."""
    inner = function.__func__ if type(function) is types.MethodType else function
    return vars(inner).get(name, default) if type(inner) is types.FunctionType else default
