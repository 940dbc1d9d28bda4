"""What tells things from others, the same in every process: by what they hold, not by where they lie in memory."""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import sys
from collections.abc import Collection, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_OWN = "rr_export."  # whose functions are hooks on the user's modules
_HOOKS = "_hooks"  # end names of dictionaries of a module, by numbers that a process counts


def content_digest(*values: Any, without: Collection[str] = ()) -> str:
    """Returns the digest of some values: numbers, arrays, tensors, modules, functions, and any object by its state.

    Of what has no state that Python tells (files, locks, sessions) the type counts; of a function its code, what it
    holds, and the constants (in upper case) and functions of its module that it names.

    Args:
        values: whatever is to be told from others.
        without: attributes of objects that say nothing of what they are.
    """
    found = hashlib.blake2b(digest_size=16)
    for part in _Walk(frozenset(without)).parts(list(values)):
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


class _Walk:
    """Goes through values; what was met before is told by its number."""

    def __init__(self, without: frozenset[str]) -> None:
        self._without = without
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is that of another object once its own is gone

    def parts(self, value: Any) -> Iterator[bytes]:
        """Yields bytes that are others for another value."""
        kind = type(value)
        yield f"{kind.__module__}.{kind.__qualname__}".encode()
        if isinstance(value, _PLAIN) and not isinstance(value, enum.Enum):
            yield repr(value).encode()
            return
        if isinstance(value, type | ModuleType | BuiltinFunctionType):
            yield f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}".encode()
            return
        if not isinstance(value, tuple | frozenset | CodeType):  # which Python makes one of, or several, as it likes
            if id(value) in self._met:
                yield str(self._met[id(value)]).encode()
                return
            self._met[id(value)] = len(self._met)
            self._alive.append(value)
        yield from self._inside(value)

    def _inside(self, value: Any) -> Iterator[bytes]:
        torch = sys.modules.get("torch")  # without it nothing is a tensor
        if torch is not None and isinstance(value, torch.Tensor):
            yield f"{value.dtype} {tuple(value.shape)}".encode()
            if value.numel() and value.layout == torch.strided and not value.is_meta:
                plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
                yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            yield f"{value.dtype} {value.shape}".encode()
            yield np.ascontiguousarray(value).tobytes()
        elif isinstance(value, Mapping):
            for key, held in value.items():
                yield from self.parts(key)
                yield from self.parts(held)
        elif isinstance(value, set | frozenset):
            yield from sorted(content_digest(held, without=self._without).encode() for held in value)
        elif isinstance(value, list | tuple):
            for held in value:
                yield from self.parts(held)
        elif isinstance(value, FunctionType | MethodType):
            yield from self._function(value)
        elif isinstance(value, functools.partial):
            yield from self.parts((value.func, value.args, value.keywords))
        elif isinstance(value, CodeType):
            yield value.co_code
            yield from self.parts((value.co_consts, value.co_names))
        elif torch is not None and isinstance(value, torch.nn.Module):
            yield from self._module(self._own(value, vars(value)))
        else:
            yield from self._state(value)

    def _function(self, function: Any) -> Iterator[bytes]:
        yield f"{function.__module__}.{function.__qualname__}".encode()
        if isinstance(function, MethodType):
            yield from self.parts(function.__self__)
            return
        if str(function.__module__).startswith(_OWN):
            return
        cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        named = {
            name: value
            for name, value in ((n, function.__globals__.get(n)) for n in function.__code__.co_names)
            if (name.isupper() and isinstance(value, (*_PLAIN, tuple)))
            or (isinstance(value, FunctionType) and value.__module__ == function.__module__)
        }
        yield from self.parts((function.__code__, function.__defaults__, function.__kwdefaults__, cells, named))

    def _module(self, state: Mapping[str, Any]) -> Iterator[bytes]:
        for name, held in state.items():
            if f"{_HOOKS}_" not in name:
                yield name.encode()
                yield from self.parts(_foreign(held) if name.endswith(_HOOKS) else held)

    def _own(self, value: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        """What an object holds, without what it has found out since."""
        found = {n for n in state if isinstance(getattr(type(value), str(n), None), functools.cached_property)}
        return {name: held for name, held in state.items() if name not in found | self._without}

    def _state(self, value: Any) -> Iterator[bytes]:
        try:
            own = copyreg.dispatch_table.get(type(value))
            reduced = value.__reduce_ex__(4) if own is None else own(value)
        except Exception:  # whatever an object raises that cannot be copied
            return
        if isinstance(reduced, str):
            yield reduced.encode()
            return
        made, given, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(state, dict):
            state = self._own(value, state)
        yield from self.parts([made, given, state, list(items or ()), list(pairs or ())])


def _foreign(hooks: Any) -> list[Any]:
    """The hooks of a module that are not of this package."""
    held = list(hooks.values()) if isinstance(hooks, Mapping) else [hooks]
    return [hook for hook in held if not str(getattr(hook, "__module__", "")).startswith(_OWN)]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
