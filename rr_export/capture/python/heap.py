"""What Python code can change: names, attributes, and entries of containers, before and after a branch.

What can be reached is walked. Where values are kept by name or position (:class:`Place`) they are looked at one by one,
so that branches can be joined and undone. Of everything else enough is kept to tell that it was changed.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import io
import logging
import sys
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from rr_export.capture.python.fields import CellFields, ClassFields, Fields, GlobalFields, SlotFields
from rr_export.capture.python.plain_access import attributes_of, contents, refill, same_objects
from rr_export.capture.python.source_code import is_library_file
from rr_export.capture.python.traces import inside, trace_of
from rr_export.capture.python.values import Drawn

MISSING = object()
Version = tuple[int, bool]
FLOW, RESULT = "<flow>", "<result>"  # how a function goes on, and what it returns: names that no code can have
# libraries whose objects change in ways that do not matter: caches, locks, what the interpreter itself is made of
_FOREIGN = frozenset(
    {"torch", "numpy", "functools", "typing", "abc", "_abc", "enum", "re", "rr_export", "onnx", "logging", "threading"}
    | {"_thread", "weakref", "importlib", "inspect", "ast", "warnings", "pathlib", "io", "_io", "os", "sys"}
    | {"contextlib", "contextvars", "_contextvars", "unittest", "_pytest", "pytest", "IPython"}
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
        store: the dictionary, list, set, deque or fields.
        owner: the object whose attributes the dictionary holds, or the scope whose names it holds, or None.
        name: how the walk came there.
    """

    store: Any
    owner: Any
    name: str

    @property
    def key(self) -> int:
        """What tells it from other places."""
        owned = isinstance(self.store, Fields) and not isinstance(self.store, GlobalFields)
        return id(self.store.owner if owned else self.store)

    def shown(self, key: Any) -> str:
        """Returns what to call the entry in a message."""
        if isinstance(self.owner, Scope):
            return f"{key!r}"
        if isinstance(self.store, GlobalFields):
            return f"the global {key!r}"
        if isinstance(self.store, CellFields):
            return f"a variable of the function around ({self.name})"
        if self.owner is not None:
            return f"attribute {key!r} of {self.name}"
        return f"entry {key!r} of {self.name}" if self.name else f"entry {key!r}"


@dataclass
class Snapshot:
    """What all containers hold that can be reached, the versions of all tensors, and traces of everything else."""

    places: dict[int, Place] = field(default_factory=dict)
    contents: dict[int, Any] = field(default_factory=dict)
    tensors: dict[int, tuple[torch.Tensor, Version, str]] = field(default_factory=dict)
    others: dict[int, tuple[Any, Any, str]] = field(default_factory=dict)
    seen: dict[int, Any] = field(default_factory=dict)

    def entries(self, key: int) -> dict[Any, Any]:
        """Returns the entries of a dictionary or list by key or position."""
        content = self.contents[key]
        return dict(content) if isinstance(content, dict) else dict(enumerate(content))

    def add(self, roots: Iterable[tuple[str, Any]]) -> None:
        """Adds what can be reached from more roots, as it is now; what is known stays as it was."""
        todo: list[tuple[str, Any]] = list(roots)
        while todo:
            name, value = todo.pop()
            if isinstance(value, torch.Tensor):
                if id(value) not in self.tensors:
                    self._add_tensor(name, value)
                continue
            kind: Any = type(value)
            look = _look(kind)
            if look is None or id(value) in self.seen:
                continue
            self.seen[id(value)] = value
            for place in look.places(name, value):
                self.places[place.key] = place
                self.contents[place.key] = contents(place.store)
            if look.opaque:
                held = inside(value)
                self.others[id(value)] = (value, trace_of(value), name)
                self.seen[-id(value)] = held  # ids stay theirs
                todo.extend((name, v) for v in held)
            else:
                todo.extend(look.inside(name, value))

    def _add_tensor(self, name: str, tensor: torch.Tensor) -> None:
        self.tensors[id(tensor)] = (tensor, version_of(tensor), name)
        if type(tensor) is not torch.Tensor:
            return
        with torch._C.DisableTorchFunction():
            numbers = trace_of(tensor)
        if numbers is not None:
            self.others[id(tensor)] = (tensor, numbers, name)


def version_of(tensor: torch.Tensor) -> Version:
    """Returns what is another value after an operation in place."""
    return tensor._version, tensor.requires_grad


def snapshot(roots: Iterable[tuple[str, Any]]) -> Snapshot:
    """Returns what can be reached from the roots now."""
    found = Snapshot()
    found.add(roots)
    return found


def shallow(value: Any) -> Snapshot:
    """Returns what one object holds now, and nothing of what can be reached from that."""
    found = Snapshot()
    kind: Any = type(value)
    look = _look(kind)
    for place in () if look is None else look.places("", value):
        found.places[place.key], found.contents[place.key] = place, contents(place.store)
    return found


Named = Iterator[tuple[str, Any]]


@dataclass(frozen=True)
class _Look:
    """How to look at the objects of a type.

    Attributes:
        places: yields where they keep what is tracked.
        inside: yields what they hold.
        opaque: whether only traces of them are kept.
    """

    places: Callable[[str, Any], Iterable[Place]] = lambda name, value: ()
    inside: Callable[[str, Any], Iterable[tuple[str, Any]]] = lambda name, value: ()
    opaque: bool = False


_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), range, slice, torch.dtype, torch.device, torch.Size),
    *(types.CodeType, types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType, type(...)),
)


@functools.cache
def _look(kind: Any) -> _Look | None:
    """How to look at the objects of a type; None: they cannot change, or do not matter."""
    if issubclass(kind, _PLAIN):
        return None
    for base, look in _LOOKS.items():
        if issubclass(kind, base):
            return look
    home = kind.__module__.partition(".")[0]
    if hasattr(kind, "__rr_holds__"):
        kept = _attributes if hasattr(kind, "__rr_tracked__") else _Look.places
        return _Look(kept, lambda name, value: ((name, v) for v in value.__rr_holds__()))
    if issubclass(kind, nn.Module):
        return _Look(_attributes, _inside_module)
    if home in _FOREIGN and not hasattr(kind, "__rr_tracked__"):
        return _Look(opaque=True) if _is_array(kind) else None
    if any(k.__module__ == "_ctypes" for k in kind.__mro__):
        return _Look(opaque=True)
    slots = any(vars(k).get("__slots__") for k in kind.__mro__)
    has_dict = any("__dict__" in vars(k) for k in kind.__mro__)
    if not slots and not has_dict:
        return _Look(opaque=True)

    def places(name: str, value: Any) -> Iterator[Place]:
        if has_dict:
            yield from _attributes(name, value)
        if slots:
            yield Place(SlotFields(value), value, name or kind.__name__)

    def held(name: str, value: Any) -> Named:
        for place in places(name, value):
            yield from _children(f"{name}." if name else "", place.store.items())
        yield name, kind

    return _Look(places, held)


def _is_array(kind: type) -> bool:
    return kind.__module__ == "numpy" and hasattr(kind, "ravel") and hasattr(kind, "setflags") and hasattr(kind, "sort")


def _attributes(name: str, value: Any) -> Iterator[Place]:
    attributes = attributes_of(value)
    if attributes is not None:
        yield Place(attributes, value, name or type(value).__name__)


def _children(prefix: str, items: Iterable[tuple[Any, Any]], suffix: str = "") -> Named:
    return ((f"{prefix}{key}{suffix}", value) for key, value in items if type(value) not in _FLAT)


_FLAT = frozenset((bool, int, float, str, type(None), torch.dtype))


def _inside_container(items: Callable[[Any], Iterable[tuple[Any, Any]]]) -> Callable[[str, Any], Named]:
    def inside_it(name: str, value: Any) -> Named:
        yield from _children(f"{name}[", items(value), "]")
        own = None if type(value) in (dict, list, tuple, set, frozenset, deque) else attributes_of(value)
        if own is not None and own is not value:
            yield name, own  # what a subclass has beside its entries

    return inside_it


def _inside_module(name: str, value: Any) -> Named:
    yield name, type(value)
    for key, item in vars(value).items():
        if key in ("_modules", "_parameters", "_buffers"):
            yield from _children(f"{name}.", item.items())
            yield name, item
        elif type(item) not in _FLAT and (not key.startswith("_") or not isinstance(item, dict)):
            yield f"{name}.{key}", item


def _inside_function(name: str, value: Any) -> Named:
    defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    yield from ((f"the defaults of {value.__name__}", v) for v in defaults)
    if value.__kwdefaults__:
        yield f"the defaults of {value.__name__}", value.__kwdefaults__
    yield from ((name or value.__name__, cell) for cell in value.__closure__ or ())
    yield from ((f"{value.__name__}.{k}", v) for k, v in value.__dict__.items())


def _inside_class(name: str, value: Any) -> Named:
    if is_authors(value):
        yield from _children(f"{value.__name__}.", ClassFields(value).items())
        yield from ((name, base) for base in value.__bases__)


def _inside_python_module(name: str, value: Any) -> Named:
    if is_authors(value):
        yield from _children(
            f"{value.__name__}.", ((k, v) for k, v in (attributes_of(value) or {}).items() if not k.startswith("__"))
        )


def _places_of_definition(name: str, value: Any) -> Iterator[Place]:
    """Of classes and modules of the author, and of functions."""
    if isinstance(value, types.FunctionType):
        if value.__dict__:
            yield Place(value.__dict__, value, f"the function {value.__name__}")
    elif is_authors(value):
        shown = f"the {'class' if isinstance(value, type) else 'module'} {value.__name__}"
        yield Place(ClassFields(value) if isinstance(value, type) else vars(value), value, shown)


def _whole(name: str, value: Any) -> Iterator[Place]:
    yield Place(value, None, name)


_LOOKS: dict[Any, _Look] = {
    Scope: _Look(
        lambda name, value: (Place(value.variables, value, name),),
        lambda name, value: _children("", value.variables.items()),
    ),
    Drawn: _Look(lambda name, value: (Place(value.cells, None, name),)),
    dict: _Look(_whole, _inside_container(lambda value: ((repr(k), v) for k, v in contents(value).items()))),
    (list, deque): _Look(_whole, _inside_container(lambda value: enumerate(contents(value)))),
    set: _Look(_whole, _inside_container(lambda value: enumerate(contents(value)))),
    (tuple, frozenset): _Look(inside=_inside_container(lambda value: enumerate(contents(value)))),
    GlobalFields: _Look(
        lambda name, value: (Place(value, value, name),), lambda name, value: _children("", value.items())
    ),
    types.CellType: _Look(
        lambda name, value: (Place(CellFields(value), value, name),),
        lambda name, value: ((name, v) for v in CellFields(value).values()),
    ),
    type: _Look(_places_of_definition, _inside_class),
    types.ModuleType: _Look(_places_of_definition, _inside_python_module),
    types.FunctionType: _Look(_places_of_definition, _inside_function),
    types.MethodType: _Look(inside=lambda name, value: ((name, value.__self__), (name, value.__func__))),
    types.BuiltinFunctionType: _Look(
        inside=lambda name, value: () if isinstance(value.__self__, types.ModuleType) else ((name, value.__self__),)
    ),
    # caches may grow; what they hold must stay
    functools._lru_cache_wrapper: _Look(inside=lambda name, value: ((name, v) for v in inside(value))),
    contextvars.ContextVar: _Look(opaque=True),  # what it is set to now
    property: _Look(inside=lambda name, value: ((name, value.fget), (name, value.fset))),
    (staticmethod, classmethod): _Look(inside=lambda name, value: ((name, value.__func__),)),
    functools.partial: _Look(
        _attributes, lambda name, value: ((name, v) for v in (value.func, *value.args, value.keywords))
    ),
    (io.StringIO, io.BytesIO): _Look(opaque=True),
    # of the standard library, objects that hold what somebody sets; their locks and caches do not matter
    (threading.local, threading.Event, logging.Logger): _Look(_attributes),
    (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet): _Look(
        _attributes, lambda name, value: ((name, value.data),)
    ),
}


def keeps_attributes(value: Any) -> bool:
    """Returns whether the attributes of an object are looked at."""
    kind: Any = type(value)
    look = None if isinstance(value, torch.Tensor) else _look(kind)
    if isinstance(value, dict | list | set | tuple | deque):
        return attributes_of(value) is not None
    return look is not None and any(place.owner is value for place in look.places("", value))


def keeps_entries(value: Any) -> bool:
    """Returns whether what a container holds is looked at."""
    kind: Any = type(value)
    look = None if isinstance(value, torch.Tensor) else _look(kind)
    return look is not None and (look.opaque or hasattr(kind, "__rr_holds__") or any(look.places("", value)))


def is_authors(kind: type | types.ModuleType) -> bool:
    """Returns whether a class or module is the author's own: no part of Python or of a package that is installed."""
    return _is_authors_module(kind.__name__ if isinstance(kind, types.ModuleType) else kind.__module__)


@functools.cache
def _is_authors_module(name: str) -> bool:
    home = name.partition(".")[0]
    if home == "__main__":
        return True
    module = sys.modules.get(name)
    file = None if module is None else (attributes_of(module) or {}).get("__file__")
    native = home in (*sys.stdlib_module_names, "torch", "numpy", "rr_export", "rr_runtime")
    return not native and not (isinstance(file, str) and is_library_file(file))


def changed(before: Snapshot, after: Snapshot) -> Iterator[tuple[int, Any]]:
    """Yields (place, key) of every entry that is another object now; the key of a set or deque is None."""
    for number in before.places:
        if number not in after.places:
            continue
        old, new = before.contents[number], after.contents[number]
        if isinstance(before.places[number].store, set | deque):
            if not same_objects(old, new):
                yield number, None
            continue
        first, second = before.entries(number), after.entries(number)
        for key in {**first, **second}:
            if first.get(key, MISSING) is not second.get(key, MISSING):
                yield number, key


def changed_others(before: Snapshot, but: Collection[int] = ()) -> Iterator[str]:
    """Yields what to call everything that is not tracked and was changed since, but what may change, by identity."""
    for number, (value, trace, name) in before.others.items():
        if number in but:
            continue
        with torch._C.DisableTorchFunction():
            same = trace_of(value) == trace
        if not same:
            yield f"{name or 'a value'} (a {type(value).__name__})"


def restore(before: Snapshot) -> None:
    """Every container holds again what it held."""
    for number, place in before.places.items():
        refill(place.store, before.contents[number])


@contextlib.contextmanager
def restored(root: nn.Module) -> Iterator[Snapshot]:
    """After the block the model's attributes, the containers in them and its buffers are as they are given to it."""
    before = snapshot([("self", root)])
    buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in root.buffers()]
    try:
        yield before
    finally:
        restore(before)
        for buffer, version, content in buffers:
            if buffer._version != version or not torch.equal(buffer, content):
                with torch.no_grad():
                    buffer.copy_(content)
