"""Numbers that differ from run to run though nothing is drawn: of clocks, and of where objects lie in memory.

They compute, compare and print as numbers do, and what is made of them is one of them. What decides by one, or makes a
tensor of it, is refused: in the file it would be what it was while the file was made.
"""

from __future__ import annotations

import datetime
import operator
import sys
import time
import types
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import nn

from rr_export.capture.python import heap
from rr_export.capture.python.intercepting import builtin_of, original_of
from rr_export.capture.python.plain_access import look
from rr_export.capture.python.values import Caller, active_interpreter

_CLOCKS = tuple(
    getattr(time, name)
    for name in (
        *("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time"),
        *("process_time_ns", "thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns"),
        *("localtime", "gmtime", "ctime", "asctime", "strftime"),
    )
    if hasattr(time, name)
)
_GIVEN_TIME = {time.localtime: 0, time.gmtime: 0, time.ctime: 0, time.asctime: 0, time.strftime: 1}  # by position
_KEEPING = ("rr_export.capture.python.diagram", "weakref")  # they keep values, whatever these are
_DAYS = ("now", "today", "utcnow")  # methods of the classes of datetime
_STORES = (list, dict, set, deque)
_KEPT = ("datetime", "time", "numpy", "builtins")  # where the types are written whose objects may be such numbers
# what only tells whether objects are the same
_OF_IDENTITY = (operator.eq, operator.ne)


def is_source(function: Any, args: tuple[Any, ...]) -> bool:
    """Returns whether a call gives what no draw and no input says.

    Args:
        function: what is called.
        args: its arguments by position.
    """
    if any(function is clock for clock in _CLOCKS):
        given = _GIVEN_TIME.get(function)
        return given is None or len(args) <= given
    owner = look(function, "__self__")
    if isinstance(owner, type) and issubclass(owner, datetime.date):
        return look(function, "__name__", "") in _DAYS
    return function is id or (function is hash and len(args) == 1 and hashed_by_address(args[0]))


_NAMES = {*(clock.__name__ for clock in _CLOCKS), *_DAYS, "id", "hash"}


def may_be_source(function: Any) -> bool:
    """Returns whether a call of a builtin may give what no draw and no input says, whatever its arguments."""
    return look(function, "__name__", "") in _NAMES and (function is hash or is_source(function, ()))


def hashed_by_address(value: Any) -> bool:
    """Returns whether the hash of a value is another one in each process."""
    if isinstance(value, str | bytes):
        return bool(sys.flags.hash_randomization) and bool(value)
    if isinstance(value, tuple | frozenset):
        return any(map(hashed_by_address, value))
    kind: Any = type(value)
    return kind.__hash__ in (
        object.__hash__,
        torch.Tensor.__hash__,
        types.BuiltinFunctionType.__hash__,
        types.FunctionType.__hash__,
    )


class CoinFloat(float):
    """Such a number."""


class CoinInt(int):
    """Such a whole number."""


class Address(int):
    """Where an object lies: whether two are equal says whether they are one object, and decides nothing else."""

    __hash__ = int.__hash__


class CoinTruth(int):
    """The outcome of a comparison of such a number."""

    def __repr__(self) -> str:
        return repr(int(self) == 1)

    __str__ = __repr__


class CoinText(str):
    """A text that shows such a number."""

    __slots__ = ()


_COINS = (CoinFloat, CoinInt, CoinTruth, CoinText, Address)


def _plain(value: Any) -> Any:
    """What a number would be if it were an ordinary one."""
    if isinstance(value, CoinTruth):
        return int.__eq__(value, 1)
    if isinstance(value, CoinFloat):
        return float.__add__(value, 0.0)
    if isinstance(value, CoinInt | Address):
        return int.__add__(value, 0)
    return str.__str__(value) if isinstance(value, CoinText) else value


def _refuse(use: str) -> NoReturn:
    found = active_interpreter.get()
    assert found is not None, "a number of a run over all ways is used after it"
    found.refuse(
        "decisions by draws, or by the input",
        f"a number that differs from run to run, of a clock or of where an object lies in memory, used {use}",
        "draw it, such as by random.random() < p or torch.rand, or make it an input of the model",
    )


def _asked(use: str, natural: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def ask(self: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") in _KEEPING:
            return natural(_plain(self))
        _refuse(use)

    return ask


def _operated(function: Callable[..., Any], *, flipped: bool = False) -> Callable[..., Any]:
    def operate(*operands: Any) -> Any:
        given = [_plain(o) for o in (operands[::-1] if flipped else operands)]
        if not all(isinstance(o, bool | int | float | str | slice) for o in given):
            return NotImplemented
        found = function(*given)
        if function in _OF_IDENTITY and all(isinstance(o, Address) or not isinstance(o, _COINS) for o in operands):
            return found
        return _made(found)

    return operate


def _made(value: Any) -> Any:
    """A plain value as one of these."""
    if isinstance(value, bool):
        return CoinTruth(value)
    if isinstance(value, int):
        return CoinInt(value)
    if isinstance(value, float):
        return CoinFloat(value)
    if isinstance(value, str):
        return CoinText(value)
    return tuple(map(_made, value)) if type(value) is tuple else value


def _install() -> None:
    comparisons = ("lt", "le", "gt", "ge", "eq", "ne")
    kind: Any
    for kind in _COINS:
        numeric = kind is not CoinText
        for name in (*comparisons, *(("neg", "pos", "abs") if numeric else ("getitem", "contains"))):
            setattr(kind, f"__{name}__", _operated(getattr(operator, name)))
        binary = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow") if numeric else ("add", "mul", "mod")
        bits = ("and_", "or_", "xor", "lshift", "rshift") if issubclass(kind, int) else ()
        for name in (*binary, *bits):
            setattr(kind, f"__{name.rstrip('_')}__", _operated(getattr(operator, name)))
            if numeric:
                setattr(kind, f"__r{name.rstrip('_')}__", _operated(getattr(operator, name), flipped=True))
        if numeric:
            kind.__divmod__ = _operated(divmod)
            kind.__round__ = _operated(round)
        if kind is Address:
            continue
        kind.__hash__ = _asked("as a key", hash)
        if numeric:
            kind.__bool__ = _asked("as a condition", bool)
        else:
            kind.__len__ = _asked("as a condition", len)


_install()


class Coins:
    """Follows such numbers through the calls of interpreted code."""

    def __init__(self) -> None:
        self._held: dict[int, Any] = {}  # objects of which such numbers are parts, by identity

    def is_one(self, value: Any) -> bool:
        """Returns whether a value is such a number, or made of one; also one in a list, tuple or dictionary."""
        if isinstance(value, _COINS) or id(value) in self._held:
            return True
        if type(value) in (list, tuple):
            return any(map(self.is_one, value))
        return type(value) is dict and any(map(self.is_one, value.values()))

    def made_of(self, given: Any, value: Any) -> Any:
        """Returns what was made of a value: such a number where the value holds one as its part."""
        return self._of(value) if id(given) in self._held else value

    def _of(self, value: Any) -> Any:
        made = _made(value)
        kept = type(value).__module__.partition(".")[0] in _KEPT and value is not None and not callable(value)
        if kept and not isinstance(made, _COINS):
            self._held[id(value)] = value
        return made

    def call(self, call: Caller, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of what is not interpreted gives, as one of these numbers where it is made of one.

        Args:
            call: calls it.
            function: what is called.
            args: its arguments.
            kwargs: those by name.
        """
        owner = look(function, "__self__")
        if not self.is_one((owner, args, kwargs)):
            result = call(function, args, kwargs)
            return Address(result) if function is id else self._of(result) if is_source(function, args) else result
        name = look(function, "__name__", "")
        if builtin_of(function) is range:
            _refuse("as a bound of range()")
        if type(owner) in _STORES:
            if name in ("get", "pop", "index", "count", "setdefault") and args:
                self.check_key(args[0])
            return call(function, args, kwargs)
        of_torch = _is_of_torch(function, owner)
        if of_torch and isinstance(function, types.BuiltinFunctionType):
            self.check_tensors(args, kwargs)
        is_random = original_of(function) is not function
        if of_torch or is_random or isinstance(function, nn.Module) or _is_authors_class(function):
            return call(function, args, kwargs)
        return self._of(call(function, tuple(map(_bare, args)), {k: _bare(v) for k, v in kwargs.items()}))

    def check_key(self, key: Any) -> None:
        """Raises if an entry is looked up by such a number, other than the address of an object."""
        parts = (key.start, key.stop, key.step) if isinstance(key, slice) else (key,)
        if any(self.is_one(part) and type(part) is not Address for part in parts):
            _refuse("as an index")

    def check_tensors(self, args: Any, kwargs: Any) -> None:
        """Raises if a function of torch, or a random one, is given such a number."""
        if self.is_one((args, kwargs)):
            _refuse("as a number in a tensor, or as the law of a draw")


def _bare(value: Any) -> Any:
    """A value for code of packages, which asks what it likes: what that decides is none of the model's routes."""
    if type(value) in (list, tuple):
        return type(value)(map(_bare, value))
    return {k: _bare(v) for k, v in value.items()} if type(value) is dict else _plain(value)


def _is_of_torch(function: Any, owner: Any) -> bool:
    home = look(function, "__module__") or look(owner if isinstance(owner, type) else type(owner), "__module__")
    return str(home).partition(".")[0] == "torch"


def _is_authors_class(function: Any) -> bool:
    return isinstance(function, type) and heap.is_authors(function)
