"""What Python code can change: names, attributes, and entries of containers, before and after a branch."""

from __future__ import annotations

import contextlib
import types
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

MISSING = object()
FLOW, RESULT = "<flow>", "<result>"  # how a function goes on, and what it returns: names that no code can have
_FOREIGN = (
    "torch",
    "numpy",
    "builtins",
    "collections",
    "functools",
    "typing",
    "abc",
    "enum",
    "re",
    "rr_export",
    "onnx",
)


@dataclass
class Scope:
    """The names of one function that is run by the interpreter."""

    variables: dict[str, Any]
    function: str


@dataclass(frozen=True)
class Place:
    """One container: where its entries are kept, and what to call it.

    Attributes:
        store: the dictionary, list, set or deque.
        owner: the object whose attributes the dictionary holds, or the scope whose names it holds, or None.
        name: how the walk came there.
    """

    store: Any
    owner: Any
    name: str

    def shown(self, key: Any) -> str:
        """Returns what to call the entry in a message."""
        if isinstance(self.owner, Scope):
            return f"{key!r}"
        if self.owner is not None:
            return f"attribute {key!r} of {self.name}"
        return f"entry {key!r} of {self.name}" if self.name else f"entry {key!r}"


@dataclass
class Snapshot:
    """The contents of all containers that can be reached, and the versions of all tensors."""

    places: dict[int, Place] = field(default_factory=dict)
    contents: dict[int, Any] = field(default_factory=dict)
    tensors: dict[int, tuple[torch.Tensor, int, str]] = field(default_factory=dict)

    def entries(self, key: int) -> dict[Any, Any]:
        """Returns the entries of a dictionary or list by key or position."""
        content = self.contents[key]
        return dict(content) if isinstance(content, dict) else dict(enumerate(content))


def snapshot(roots: Iterable[tuple[str, Any]]) -> Snapshot:
    """Returns what can be reached from the roots now."""
    found = Snapshot()
    todo: list[tuple[str, Any]] = list(roots)
    seen: set[int] = set()
    while todo:
        name, value = todo.pop()
        if isinstance(value, torch.Tensor):
            found.tensors.setdefault(id(value), (value, value._version, name))
            continue
        if id(value) in seen or isinstance(value, _PLAIN):
            continue
        seen.add(id(value))
        place = _place(name, value)
        if place is not None:
            store = place.store
            found.places[id(store)] = place
            found.contents[id(store)] = store.copy()
        todo.extend(_inside(name, value))
    return found


_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, types.ModuleType, torch.dtype, torch.device)


def _place(name: str, value: Any) -> Place | None:
    if isinstance(value, Scope):
        return Place(value.variables, value, name)
    if isinstance(value, dict | list | set | deque):
        return Place(value, None, name)
    if _is_open(value):
        return Place(vars(value), value, name or type(value).__name__)
    return None


def _is_open(value: Any) -> bool:
    """Whether the attributes of an object are looked at."""
    if isinstance(value, nn.Module):
        return True
    home = type(value).__module__.partition(".")[0]
    return home not in _FOREIGN and hasattr(value, "__dict__") and not isinstance(value, types.FunctionType)


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Scope):
        yield from ((str(k), v) for k, v in value.variables.items())
    elif isinstance(value, dict):
        yield from ((f"{name}[{k!r}]", v) for k, v in value.items())
    elif isinstance(value, list | tuple | deque):
        yield from ((f"{name}[{i}]", v) for i, v in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((name, v) for v in value)
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield name, cell.cell_contents
            except ValueError:
                continue
    elif isinstance(value, types.MethodType):
        yield name, value.__self__
    elif isinstance(value, nn.Module):
        for key, item in vars(value).items():
            if key in ("_modules", "_parameters", "_buffers"):
                yield from ((f"{name}.{k}", v) for k, v in item.items())
                yield name, item
            elif not key.startswith("_") or not isinstance(item, dict):
                yield f"{name}.{key}", item
    elif _is_open(value):
        yield from ((f"{name}.{k}", v) for k, v in vars(value).items())


def changed(before: Snapshot, after: Snapshot) -> Iterator[tuple[int, Any]]:
    """Yields (place, key) of every entry that is another object now; the key of a set or deque is None."""
    for number in before.places:
        if number not in after.places:
            continue
        old, new = before.contents[number], after.contents[number]
        if isinstance(old, set | deque):
            if old != new:
                yield number, None
            continue
        first, second = before.entries(number), after.entries(number)
        for key in {**first, **second}:
            if first.get(key, MISSING) is not second.get(key, MISSING):
                yield number, key


def restore(before: Snapshot) -> None:
    """Every container holds again what it held."""
    for number, place in before.places.items():
        _refill(place.store, before.contents[number])


def _refill(store: Any, content: Any) -> None:
    if isinstance(store, dict):
        if store.keys() != content.keys():
            for key in [k for k in store if k not in content]:
                del store[key]
        for key, value in content.items():
            if store.get(key, MISSING) is not value:
                store[key] = value
    elif isinstance(store, list):
        store[:] = content
    elif store != content:
        store.clear()
        store.update(content) if isinstance(store, set) else store.extend(content)


@contextlib.contextmanager
def restored(root: nn.Module) -> Iterator[None]:
    """After the block the model's attributes, the containers in them and its buffers are as before."""
    before = snapshot([("self", root)])
    buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in root.buffers()]
    try:
        yield
    finally:
        restore(before)
        for buffer, version, content in buffers:
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(content)
