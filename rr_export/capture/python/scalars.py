"""Tensors that stand for numbers that were read out of the input: they compute as numbers of Python do, not as tensors.

A truth value is a whole number there, a quotient has double precision, and nothing is changed in place.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from rr_export.capture.python.values import Varying, leaves_of

_scalars = WeakIdKeyDictionary()


def scalar(value: Any) -> Any:
    """Returns a tensor, [], which from now on stands for a number; anything else as it is."""
    if isinstance(value, torch.Tensor):
        _scalars[value] = True
    return value


def is_scalar(value: Any) -> bool:
    """Returns whether a value is a tensor that stands for a number."""
    return isinstance(value, torch.Tensor) and value in _scalars


def has_scalars(value: Any) -> bool:
    """Returns whether a value varies, and stands for a number that was read on some paths."""
    return isinstance(value, Varying) and any(map(is_scalar, leaves_of(value)))


def are_scalars(values: Iterable[Any], *, sizes: bool = True) -> bool:
    """Returns whether all values are numbers, or sizes of dynamic axes, of which some stand in tensors."""
    held, kinds = list(values), (bool, int, float, *((torch.SymInt, torch.SymFloat) if sizes else ()))
    return any(map(is_scalar, held)) and all(is_scalar(v) or isinstance(v, kinds) for v in held)


def whole(value: Any) -> Any:
    """Returns a truth value as the whole number that it is in Python; any other number as it is."""
    if isinstance(value, torch.Tensor):
        return value.to(torch.int64) if value.dtype == torch.bool else value
    return int(value) if isinstance(value, bool) else value


def _exact(value: Any) -> Any:
    """Returns a number of double precision as a tensor of it: torch would round it to single precision."""
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else value


def compute(function: Callable[..., Any], *operands: Any) -> Any:
    """Returns what an operator gives: of numbers as Python computes it, of anything else as that does itself."""
    function = _BUILTINS.get(function, function)
    if not are_scalars(operands):
        return function(*operands)
    if function is divmod:
        return compute(operator.floordiv, *operands), compute(operator.mod, *operands)
    rule: Callable[..., Any] = _RULES.get(function, _of_whole)
    return scalar(rule(function, *map(_exact, operands)))


def total(items: list[Any], start: Any = 0) -> Any:
    """Returns ``sum(items, start)``."""
    return functools.reduce(functools.partial(compute, operator.add), items, start)


def _of_whole(function: Callable[..., Any], *operands: Any) -> Any:
    return function(*map(whole, operands))


def _of_truths(function: Callable[..., Any], *operands: Any) -> Any:
    """Of truth values alone a truth value."""
    if all(isinstance(o, bool) or getattr(o, "dtype", None) == torch.bool for o in operands):
        return function(*operands)
    return _of_whole(function, *operands)


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) else value


def _divide(function: Callable[..., Any], *operands: Any) -> Any:
    return function(*map(_double, operands))


def _power(function: Callable[..., Any], base: Any, exponent: Any) -> Any:
    """Whole numbers stay whole where the exponent is known, and not negative."""
    if isinstance(exponent, int) and exponent >= 0:
        return function(whole(base), int(exponent))
    return function(_double(base), _double(exponent))


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((operator.and_, operator.or_, operator.xor, operator.eq, operator.ne), _of_truths),
    operator.truediv: _divide,
    operator.pow: _power,
}

_BUILTINS: dict[Any, Callable[..., Any]] = {abs: operator.abs, pow: operator.pow}

# what computes
COMPUTING = (
    *(abs, pow, divmod, operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
    *(operator.pow, operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor, operator.neg),
    *(operator.pos, operator.abs, operator.invert, operator.lt, operator.le, operator.gt, operator.ge, operator.eq),
    operator.ne,
)
