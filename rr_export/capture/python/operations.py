"""What can be done with values that are at hand: operators, attributes and entries."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain, operate, truth
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.coins import Coins, CoinText
from rr_export.capture.python.lifting import Lifter
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.scalars import compute, has_scalars
from rr_export.capture.python.shapes import form, is_apart, tells_form
from rr_export.capture.python.values import (
    Caller,
    Drawn,
    Sifted,
    UniformDraw,
    Varying,
    diagram_here,
    diagram_of,
    is_plain,
    is_symbolic,
    plain,
    settled,
    varies,
)

_BOOLS = (True, False)


def is_in(item: Any, container: Any) -> bool:
    """Returns ``item in container``."""
    return item in container


def is_not_in(item: Any, container: Any) -> bool:
    """Returns ``item not in container``."""
    return item not in container


class Operations:
    """Operates on values, of which some may vary.

    Args:
        lifter: for what needs one value after the other.
        branching: for what is a condition on the input.
        memory: what is read.
        coins: numbers of clocks and addresses.
        call: how the getter of a property is called.
    """

    def __init__(self, lifter: Lifter, branching: Branching, memory: Memory, coins: Coins, call: Caller) -> None:
        self._lifter, self._branching, self._memory, self._call = lifter, branching, memory, call
        self._coins = coins

    def attribute(self, owner: Any, name: str) -> Any:
        """Returns ``owner.name``."""
        self._memory.reads(owner, name)
        if isinstance(owner, Sifted):
            self._memory.refuse_varying_length(f".{name}")
        if is_apart(owner) and tells_form(name):
            return form(owner, lambda tensor: getattr(tensor, name))
        if isinstance(owner, Varying):
            return self._lifter.lift(getattr, (owner, name), {})
        descriptor = inspect.getattr_static(type(owner), name, None) if not isinstance(owner, type) else None
        if isinstance(descriptor, property) and descriptor.fget is not None:
            return self._memory.read(self._call(descriptor.fget, (owner,), {}))
        return self._coins.made_of(owner, self._memory.read(getattr(owner, name)))

    def set_attribute(self, owner: Any, name: str, value: Any) -> None:
        """Sets ``owner.name``; where the owner varies, that of each object that it may be."""
        if isinstance(owner, Varying):
            self._lifter.each(owner, lambda one: self.set_attribute(one, name, value))
            return
        self._memory.writes(owner, name)
        descriptor = inspect.getattr_static(type(owner), name, None)
        if isinstance(descriptor, property) and descriptor.fset is not None:
            self._call(descriptor.fset, (owner, value), {})
        else:
            setattr(owner, name, value)

    def set_item(self, owner: Any, key: Any, value: Any) -> None:
        """Sets ``owner[key]``; where the owner varies, that of each object that it may be."""
        if isinstance(owner, Varying):
            self._lifter.each(owner, lambda one: self.set_item(one, key, value))
            return
        if isinstance(owner, Sifted):
            self._memory.change(owner, "an assignment", list.__setitem__, (key, value))
            return
        owner[key] = value

    def delete_attribute(self, owner: Any, name: str) -> None:
        """Deletes ``owner.name``; where the owner varies, that of each object that it may be."""
        if isinstance(owner, Varying):
            self._lifter.each(owner, lambda one: self.delete_attribute(one, name))
            return
        self._memory.writes(owner, name)
        delattr(owner, name)

    def delete_item(self, owner: Any, key: Any) -> None:
        """Deletes ``owner[key]``; where the owner varies, that of each object that it may be."""
        if isinstance(owner, Varying):
            self._lifter.each(owner, lambda one: self.delete_item(one, key))
            return
        if isinstance(owner, Sifted):
            self._memory.change(owner, "del", list.__delitem__, (key,))
            return
        del owner[key]

    def item(self, owner: Any, key: Any) -> Any:
        """Returns ``owner[key]``."""
        owner = owner.whole() if isinstance(owner, Sifted) else owner
        self._coins.check_key(key)
        if isinstance(key, Drawn) and not (isinstance(owner, torch.Tensor) and _is_array(key)):
            key = key.item()
        key = _sliced(key)
        if not isinstance(owner, torch.Tensor) and _has_tensors(key):
            key = self._branching.as_index(key, owner)
        if isinstance(owner, Drawn) and not is_symbolic(key):
            return owner[key]
        if isinstance(owner, list | tuple | dict) and varies(owner):
            return self._entry(owner, key)
        if varies((owner, key)):
            return self._lifter.lift(operator.getitem, (owner, key), {})
        return self._coins.made_of(owner, owner[key])

    def _entry(self, owner: Any, key: Any) -> Any:
        """Returns an entry of a plain container of which some vary: the others are not looked at."""
        if not is_symbolic(key):
            return owner[key]
        keys = dd.leaves(diagram_here(key))
        entries = [owner[k] for k in keys]
        if any(isinstance(e, UniformDraw | Drawn) or not (isinstance(e, Varying) or is_plain(e)) for e in entries):
            return self._lifter.lift(lambda k: owner[k], (key,), {})
        which = dd.apply(lambda k: next(i for i, known in enumerate(keys) if dd.same(k, known)), diagram_here(key))
        return settled(plain(dd.choose(which, [diagram_of(e) for e in entries])))

    def set_of(self, items: list[Any]) -> Any:
        """Returns a set, which varies where an item does."""
        return self._lifter.call_varied(set, (items,), {}) if varies(items) else set(items)

    def for_each(self, key: Varying, act: Callable[[Any], Any]) -> None:
        """Does something with each value of a key, in a branch of its own."""
        self._lifter.lift(act, (key,), {})

    def negated(self, value: Any) -> Any:
        """Returns ``not value``."""
        if isinstance(value, torch.Tensor | Sifted):
            value = self._branching.holds(value)
        return operate(operator.not_, truth(value)) if is_symbolic(value) else not value

    def binary(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        """Returns what an operator gives."""
        left, right = (v.whole() if isinstance(v, Sifted) else v for v in (left, right))
        if varies((left, right)):
            if any(isinstance(v, UniformDraw | Drawn) for v in (left, right)):
                self._coins.check_tensors((left, right), {})
            return operate(function, left, right)
        found = compute(function, left, right)
        return self._coins.made_of(left, self._coins.made_of(right, found))

    def shown(self, values: list[Any], text: str) -> str:
        """Returns a text in which values are shown."""
        return CoinText(text) if self._coins.is_one(values) else text

    def compare(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        """Returns what a comparison gives."""
        if function in (operator.is_, operator.is_not):
            if any(isinstance(v, Varying) for v in (left, right)):
                return call_plain(function, left, right)
            if any(isinstance(v, torch.Tensor) for v in (left, right)) and any(
                v is b for v in (left, right) for b in _BOOLS
            ):
                self._branching.refuse_identity()
            return function(left, right)
        if function in (is_in, is_not_in) and isinstance(right, list | tuple) and varies((left, right)):
            found = self._lifter.call_varied(any, ([self.binary(operator.eq, left, item) for item in right],), {})
            return found if function is is_in else self.negated(found)
        if function in (is_in, is_not_in):
            self._coins.check_key(left)
        return self.binary(function, left, right)

    def logical_and(self, left: Any, right: Any) -> Any:
        """Returns ``left and right``."""
        if any(isinstance(v, torch.Tensor) for v in (left, right)):
            return torch.logical_and(torch.as_tensor(left), torch.as_tensor(right))
        if is_symbolic(left) or is_symbolic(right):
            return operate(operator.and_, truth(left), truth(right))
        return left and right


def _has_tensors(key: Any) -> bool:
    """Whether a key, or a bound of a slice, is a tensor."""
    bounds = (key.start, key.stop, key.step) if isinstance(key, slice) else (key,)
    return any(isinstance(bound, torch.Tensor) or has_scalars(bound) for bound in bounds)


def _is_array(key: Drawn) -> bool:
    """Whether a tensor is indexed by this as by an array, and keeps its axis."""
    return key.kind is not None and key.values.ndim > 0


def _sliced(key: Any) -> Any:
    """A key with slices whose bounds vary, as a key that varies."""
    if isinstance(key, tuple):
        parts = tuple(map(_sliced, key))
        if any(isinstance(part, Varying) for part in parts):
            return call_plain(lambda *values: values, *parts)
        return parts
    if isinstance(key, slice):
        bounds = [b.item() if isinstance(b, Drawn) else b for b in (key.start, key.stop, key.step)]
        return call_plain(slice, *bounds) if any(map(is_symbolic, bounds)) else key
    return key
