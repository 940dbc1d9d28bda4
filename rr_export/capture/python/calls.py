"""Calls of what is not interpreted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.distributions import Distribution

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.bounds import MOST_TURNS
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.coins import Coins
from rr_export.capture.python.cursors import Cursor, cursor_over, finite, take_next
from rr_export.capture.python.drawing import Drawing
from rr_export.capture.python.effects import Effects
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.intercepting import (
    ASKS_FOR_CAPTURE,
    COND,
    LOOP,
    builtin_of,
    cond_arguments,
    loop_arguments,
    original_of,
)
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.lifting import CALLEE, Lifter, Method
from rr_export.capture.python.notes import NUMBER
from rr_export.capture.python.plain_access import look
from rr_export.capture.python.random_functions import reading, regularises, sample
from rr_export.capture.python.scalars import COMPUTING, are_scalars, compute, is_scalar, scalar, total, whole
from rr_export.capture.python.shapes import form, is_apart, tells_form
from rr_export.capture.python.stdlib_calls import stdlib_call
from rr_export.capture.python.values import Caller, Sifted, Varying, is_symbolic, settled, varies

CONSUMERS = (any, all, sum, list, tuple, set, max, min, sorted, dict)  # these use up an iterator
_EXTREMES: dict[Any, Any] = {max: torch.gt, min: torch.lt}  # torch.export replaces max and min
# functions that read a number out of tensors, by what gives the same as a tensor
_READING: dict[str, Callable[..., Any]] = {
    "allclose": lambda a, b, *args, **kwargs: torch.isclose(a, b, *args, **kwargs).all(),
    "equal": lambda a, b: (a == b).all() if a.shape == b.shape else False,
    "is_nonzero": lambda a: (a != 0).reshape(()),
}
_READ = (torch.float64, torch.int64, torch.bool)  # types of the tensors that stand for numbers that were read


class NativeCalls:
    """Calls functions that are not interpreted: random ones, those of libraries, builtins.

    Args:
        stack: whose names ``globals()`` and ``locals()`` give.
        branching: for conditions that a call asks.
        lifter: for arguments that vary.
        drawing: for random functions.
        numbers: those that are the same in every run.
        effects: refuses what must not be called.
        call: how a function is called that may be one to interpret.
        coins: numbers of clocks and addresses.
    """

    def __init__(
        self,
        stack: Stack,
        branching: Branching,
        lifter: Lifter,
        drawing: Drawing,
        numbers: KnownNumbers,
        effects: Effects,
        call: Caller,
        coins: Coins,
    ) -> None:
        self._coins = coins
        self._stack, self._branching, self._lifter, self._drawing = stack, branching, lifter, drawing
        self._numbers, self._effects, self._call = numbers, effects, call

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of something that is not interpreted gives."""
        return self._coins.call(self._call_native, function, args, kwargs)

    def _call_native(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function is len and isinstance(args[0], Sifted):
            return args[0].length()
        args = tuple(a.whole() if isinstance(a, Sifted) else a for a in args)
        builtin = builtin_of(function)
        if _is_one_of(builtin, CONSUMERS):
            args = tuple(list(a) if isinstance(a, Cursor) else a for a in args)
        if is_symbolic(function):
            return self._lifter.lift(CALLEE, (function, *args), kwargs)
        original = original_of(function)
        if (original is not function or reading(original) is not None) and not regularises(original):
            return self.draw(original, args, kwargs)
        if function is iter and len(args) == 1 and (cursor := cursor_over(args[0])) is not None:
            return cursor
        if _is_one_of(builtin, (any, all)) and len(args) == 1 and _has_tensors(args[0]):
            return self._some(list(args[0]), builtin is any)
        of_library = stdlib_call(function, args, kwargs, self._call, self._branching.holds)
        if of_library is not None:
            return of_library
        if function is functools.partial and args and not is_symbolic(args[0]):
            return functools.partial(args[0], *args[1:], **kwargs)  # it may hold what varies
        if function is next and args and isinstance(args[0], Cursor):
            return take_next(args[0], args[1:], self._lifter.lift)
        if not kwargs and are_scalars(args) and _is_one_of(function, COMPUTING):
            return compute(function, *args)
        if builtin is sum and args and isinstance(args[0], list | tuple) and any(map(is_scalar, args[0])):
            return total(*args, **kwargs)
        self._effects.check_call(function, args)
        if _is_one_of(function, ASKS_FOR_CAPTURE):
            return False
        if _is_one_of(function, (globals, locals)):
            return self._stack.names(function is globals)
        if self._numbers.replaying and isinstance(function, type) and issubclass(function, Distribution):
            kwargs = {**kwargs, "validate_args": False}  # the first run did
        if varies((args, kwargs)):
            return self._lifter.call_varied(builtin, args, kwargs)
        if _is_one_of(builtin, _EXTREMES) and not kwargs and self._depends(args):
            return self._extreme(builtin, list(args if len(args) > 1 else args[0]))
        if args and (function is type or (function is isinstance and _tells_numbers(args[1]))):
            self._check_kind(args[0], function.__name__)
        if args and _is_one_of(function, (torch.tensor, torch.as_tensor)) and self._has_read(args[0]):
            return self._stacked(args[0]).to(**kwargs)
        as_tensor = self._as_tensor(function, args, kwargs)
        if as_tensor is not None:
            return scalar(as_tensor())
        number = self._number_of(function, args, kwargs)
        if number is not None:
            return number
        return self._numbers.called(function, args, kwargs, finite(function, args, function(*args, **kwargs)))

    def call_method(self, owner: Varying, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a method of something that varies gives."""
        if is_apart(owner) and not kwargs and tells_form(name, args):
            return form(owner, lambda tensor: getattr(tensor, name)(*args))
        if name in ("sample", "rsample") and all(isinstance(v, Distribution) for v in dd.leaves(owner.diagram)):
            return self.draw(sample, (owner, *args), kwargs)
        return self._lifter.lift(Method(name), (owner, *args), kwargs)

    def draw(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a random function gives, or ``torch.cond``: the numbers that it draws are decisions."""
        self._coins.check_tensors(args, kwargs)
        if function is COND:
            condition, on_true, on_false, operands = cond_arguments(*args, **kwargs)
            return self._branching.branch(
                self._branching.as_condition(condition),
                lambda outcome: self._call(on_true if outcome else on_false, operands, {}),
            )
        if function is LOOP:
            return self._loop(*loop_arguments(*args, **kwargs))
        if not self._drawing.is_off(function, args, kwargs):
            return self._drawing.draw(function, args, kwargs)
        if varies((args, kwargs)):
            return self._lifter.call_varied(function, args, kwargs)
        return self._numbers.told(function, args, kwargs, function(*args, **kwargs))

    def _loop(
        self, holds: Any, turn: Any, carried: tuple[Any, ...], others: tuple[Any, ...], turns: int = 0
    ) -> tuple[Any, ...]:
        """``torch.while_loop``, turn by turn."""
        if turns > MOST_TURNS:
            self._numbers.refuse_number(
                f"torch.while_loop of more than {MOST_TURNS} turns, next to a draw or a condition,", "give it fewer"
            )
        condition = self._branching.as_condition(self._call(holds, (*carried, *others), {}))
        if isinstance(condition, torch.Tensor):
            self._numbers.refuse_number(
                "a condition of torch.while_loop", "write `for _ in range(most): if not condition: break`"
            )

        def arm(outcome: bool) -> tuple[Any, ...]:
            if not outcome:
                return carried
            turned = tuple(self._call(turn, (*carried, *others), {}))
            return self._loop(holds, turn, turned, others, turns + 1)

        found: tuple[Any, ...] = self._branching.branch(condition, arm)
        return found

    def _some(self, items: list[Any], wanted: bool) -> Any:
        """``any`` (wanted) or ``all`` of conditions: the next is asked only where those before it do not tell."""
        if not items:
            return not wanted
        return settled(
            self._branching.branch(
                self._branching.as_condition(items[0]),
                lambda outcome: outcome if outcome is wanted else self._some(items[1:], wanted),
            )
        )

    def _as_tensor(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any] | None:
        """What gives as a tensor what a function reads out of tensors; None: it reads nothing, or what never varies."""
        owner, name = look(function, "__self__"), look(function, "__name__", "")
        if name not in _READING or not (isinstance(owner, torch.Tensor) or function is getattr(torch, name)):
            return None
        given = (owner, *args) if isinstance(owner, torch.Tensor) else args
        if all(self._numbers.is_constant(value) for value in given if isinstance(value, torch.Tensor)):
            return None
        return functools.partial(_READING[name], *given, **kwargs)

    def _has_read(self, items: Any) -> bool:
        """Whether numbers that were read out of the input are in a list, or in lists in it."""
        if isinstance(items, list | tuple):
            return any(map(self._has_read, items))
        return isinstance(items, torch.Tensor) and not items.dim() and not self._numbers.is_constant(items)

    def _stacked(self, items: Any) -> torch.Tensor:
        """What ``torch.tensor`` makes of numbers of which some were read out of the input."""
        if isinstance(items, list | tuple):
            made = list(map(self._stacked, items))
            kind = functools.reduce(torch.promote_types, (one.dtype for one in made))
            return torch.stack([one.to(kind) for one in made])
        made_ = torch.as_tensor(items)
        return made_.to(torch.get_default_dtype()) if made_.is_floating_point() else made_

    def _check_kind(self, value: Any, name: str) -> None:
        """Raises if a number that was read out of the input is asked of what type it is: here it is a tensor."""
        read = isinstance(value, torch.Tensor) and value.dim() == 0 and value.dtype in _READ
        if read and not self._numbers.is_constant(value):
            self._numbers.refuse_number(f"{name}() of a number", "leave the question out: its type is known")

    def _bound(self, value: Any) -> Any:
        """A bound of a range."""
        if not isinstance(value, torch.Tensor):
            return value
        numbers = self._numbers.constant(value)
        if numbers is None:
            self._numbers.refuse_number("range()", "count in a loop with a bound, and break by a condition")
        return int(numbers.reshape(()))

    def _depends(self, values: Any) -> bool:
        """Whether there are tensors of one element among the values, of which some depend on the input."""
        if len(values) == 1 and isinstance(values[0], list | tuple):
            values = values[0]
        tensors = [v for v in values if isinstance(v, torch.Tensor)]
        single = len(values) > 1 and all(t.numel() == 1 for t in tensors)
        return single and any(not self._numbers.is_constant(t) for t in tensors)

    def _extreme(self, function: Any, items: list[Any]) -> Any:
        """The largest, or least, of numbers that were read out of tensors."""
        numbers = [torch.as_tensor(whole(v), dtype=torch.float64 if isinstance(v, float) else None) for v in items]
        beats = _EXTREMES[function]
        found = functools.reduce(lambda best, one: torch.where(beats(one, best), one, best), numbers)
        return scalar(found) if are_scalars(items) else found

    def _number_of(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The number in a tensor: itself where it is the same in every run, else a tensor that stands for it."""
        owner = look(function, "__self__")
        if isinstance(owner, torch.Tensor) and look(function, "__name__", "") in ("item", "tolist", "numpy"):
            numbers = self._numbers.constant(owner, NUMBER)
            name = function.__name__
            if numbers is not None:
                numbers.flags.writeable = False  # it is a copy: what is written into it would not be in the tensor
                return numbers if name == "numpy" else numbers.item() if name == "item" else numbers.tolist()
            if name == "item":
                kind = torch.float64 if owner.is_floating_point() else owner.dtype
                return scalar(
                    owner.reshape(()).to(kind, copy=True)
                )  # what is written into the tensor later is not in it
            self._numbers.refuse_number(f".{name}()", "write .item(), or use the tensor itself as the condition")
        if (
            len(args) == 1
            and not kwargs
            and isinstance(args[0], torch.Tensor)
            and _is_one_of(function, (float, int, bool))
        ):
            numbers = self._numbers.constant(args[0], NUMBER)
            if numbers is not None:
                return function(numbers.reshape(()))
            if function is not bool:
                self._numbers.refuse_number(
                    f"{function.__name__}()", "write .item(), or use the tensor itself as the condition"
                )
            return self._branching.holds(args[0])
        if function is range and any(isinstance(a, torch.Tensor) for a in args):
            return range(*map(self._bound, args))
        if args and isinstance(args[0], torch.Tensor) and (function is round or _is_of_math(function)):
            numbers = self._numbers.constant(args[0])
            if numbers is not None:
                return function(numbers.item(), *args[1:], **kwargs)
            if function is not round:
                self._numbers.refuse_number(f"{function.__name__}()", f"write torch.{function.__name__}()")
            if len(args) > 1 or kwargs:
                self._numbers.refuse_number("round() to some digits", "write round(10 * v) / 10")
            return scalar(torch.round(args[0]).to(torch.int64) if args[0].is_floating_point() else whole(args[0]))
        return None


def _is_one_of(function: Any, functions: Iterable[Any]) -> bool:
    """Whether a function is one of these; what the model calls may be an object with an ``__eq__`` of its own."""
    return any(function is one for one in functions)


def _has_tensors(items: Any) -> bool:
    """Whether items are those of a list or tuple, and some are tensors."""
    return isinstance(items, list | tuple) and any(isinstance(item, torch.Tensor) for item in items)


def _tells_numbers(kinds: Any) -> bool:
    """Whether types, as isinstance takes them, tell numbers from others."""
    flat = kinds if isinstance(kinds, tuple) else (kinds,)
    return any(kind is one for kind in flat for one in (bool, int, float))


def _is_of_math(function: Any) -> bool:
    return getattr(builtin_of(function), "__module__", None) == "math"
