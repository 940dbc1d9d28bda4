"""Arithmetic and comparisons of values that depend on decisions, and of draws."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.values import (
    CHOOSES,
    COMPARISONS,
    ROUNDINGS,
    Drawn,
    UniformDraw,
    Varying,
    boxed,
    diagram_of,
    has_tensors,
    plain,
    refuse_one,
    settled,
    tracer,
)


def truth(value: Any) -> Any:
    """Returns ``bool(value)``, which may vary."""
    if isinstance(value, Drawn):
        value = value.item()
    if isinstance(value, UniformDraw):
        return value.below(0) if value.offset < 0 else True  # zero itself has no probability
    if has_tensors(value):
        return tracer().lift(bool, (value,), {})
    return plain(dd.apply(bool, diagram_of(value)))


def elementwise(function: Callable[..., Any], *operands: Any) -> Drawn:
    """Returns the array of what ``function`` gives for the elements, broadcast as numpy does."""
    like = next(o.like for o in operands if isinstance(o, Drawn))
    arrays = np.broadcast_arrays(*(o.values if isinstance(o, Drawn) else _array(o) for o in operands))
    found = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(found.shape):
        found[index] = function(*(a[index] for a in arrays))
    return Drawn(found, like)


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        numbers = tracer().constant(value)
        assert numbers is not None
        value = numbers
    if isinstance(value, np.ndarray | np.generic | list | tuple):
        numbers = np.asarray(value)
        found = np.empty(numbers.shape, dtype=object)
        for index in np.ndindex(found.shape):
            found[index] = numbers[index].item() if hasattr(numbers[index], "item") else numbers[index]
        return found
    return boxed(value)


def _needs_graph(operands: Any) -> bool:
    """Whether an operand is a tensor that depends on the input."""
    tensors = [o for o in torch.utils._pytree.tree_leaves(operands) if isinstance(o, torch.Tensor)]
    return any(tracer().constant(t) is None for t in tensors)


def operate(function: Callable[..., Any], *operands: Any) -> Any:
    """Returns ``function`` of values of which some depend on decisions."""
    if any(map(has_tensors, operands)):
        return tracer().lift(function, operands, {})
    if any(isinstance(o, UniformDraw | Drawn) for o in operands) and function in _COMPARES and _needs_graph(operands):
        tracer().refuse(
            "a probability that is the same in every run",
            "one that depends on the input",
            "compute the probability from parameters only, or decide by the input alone (a condition without a draw)",
        )
    if any(isinstance(o, torch.Tensor) for o in operands) and (
        not any(isinstance(o, Drawn | UniformDraw) for o in operands) or _needs_graph(operands)
    ):
        return tracer().lift(function, operands, {})
    if function is operator.invert and isinstance(operands[0], Drawn):
        return elementwise(lambda v: operate(_inverted, v), *operands)
    if any(isinstance(o, Drawn) for o in operands):
        return elementwise(lambda *values: operate(function, *values), *operands)
    if any(isinstance(o, torch.Tensor) for o in operands):
        return operate(function, *(_array(o).item() if isinstance(o, torch.Tensor) else o for o in operands))
    if any(isinstance(o, UniformDraw) for o in operands):
        return _operate_uniform(function, *operands)
    return plain(dd.apply(function, *(_settled_diagram(o) for o in operands)))


def _inverted(value: Any) -> Any:
    """What torch's ``~`` makes of an element."""
    return not value if isinstance(value, bool) else ~value


def _settled_diagram(value: Any) -> dd.Diagram:
    return dd.given(diagram_of(value), tracer().guard)


_COMPARES = tuple(getattr(operator, n) for n in COMPARISONS)
_FLIPPED = {operator.lt: operator.gt, operator.le: operator.ge, operator.gt: operator.lt, operator.ge: operator.le}


def _operate_uniform(function: Callable[..., Any], *operands: Any) -> Any:
    """Affine arithmetic with numbers, and comparisons."""
    values = [settled(o) for o in operands]
    if len(values) == 2 and isinstance(values[0], UniformDraw) ^ isinstance(values[1], UniformDraw):
        first = isinstance(values[0], UniformDraw)
        draw, other = values if first else values[::-1]
        if function in _FLIPPED:
            return _compare(function if first else _FLIPPED[function], draw, other)
        if isinstance(other, bool | int | float) and not isinstance(draw, Varying):
            changed = _affine(function, draw, float(other), first)
            if changed is not None:
                return changed
    if len(values) == 1 and function is operator.neg:
        return UniformDraw(values[0].decision, -values[0].scale, -values[0].offset)
    tracer().refuse(
        CHOOSES,
        f"one that is used as a number, by {getattr(function, '__name__', function)}",
        "compare it with a number, or make it an input of the model",
    )


def _affine(function: Callable[..., Any], draw: UniformDraw, other: float, first: bool) -> UniformDraw | None:
    scale, offset = draw.scale, draw.offset
    if function is operator.add:
        return UniformDraw(draw.decision, scale, offset + other)
    if function is operator.sub:
        return UniformDraw(draw.decision, scale if first else -scale, offset - other if first else other - offset)
    if function is operator.mul and other:
        return UniformDraw(draw.decision, scale * other, offset * other)
    if function is operator.truediv and first and other:
        return UniformDraw(draw.decision, scale / other, offset / other)
    return None


def _compare(function: Callable[..., Any], draw: UniformDraw, other: Any) -> Any:
    below = function in (operator.lt, operator.le)
    if isinstance(other, Varying):
        return tracer().compare_varying(draw, other, below)
    if not isinstance(other, bool | int | float | np.number):
        tracer().refuse("a draw compared with a number", f"one compared with {type(other).__name__}", "give a number")
    found = draw.below(float(other))
    return plain(found if below else dd.apply(operator.not_, found))


def call_plain(function: Callable[..., Any], *operands: Any) -> Any:
    """Returns a pure function of plain values of which some depend on decisions."""
    values = [o.item() if isinstance(o, Drawn) and o.values.size == 1 else o for o in operands]
    if len(values) == 1 and isinstance(values[0], UniformDraw):
        if function is float:
            return values[0]
        if function is bool:
            return truth(values[0])
        if function in ROUNDINGS:
            return values[0].rounded(ROUNDINGS[function])
    return operate(function, *values)


_BY_TORCH_NAME = {
    **{n: getattr(operator, n) for n in (*COMPARISONS, "add", "sub", "mul", "neg", "truediv")},
    "div": operator.truediv,
    "rsub": lambda a, b: operator.sub(b, a),
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
}


def operate_torch(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns what a function of torch gives where an argument is a draw or varies."""
    name = getattr(function, "__name__", "").strip("_")
    first = args[0] if args else None
    if name in _BY_TORCH_NAME and not kwargs and any(isinstance(a, Drawn | UniformDraw) for a in args):
        operator_ = _BY_TORCH_NAME[name]
        if operator_ in _COMPARES or not _needs_graph(args):
            return operate(operator_, *args)
    name = getattr(function, "__name__", "")
    if isinstance(first, Drawn) and name in METHODS and not kwargs.get("dim") and not _needs_graph(args[1:]):
        return METHODS[name](first, *args[1:], **kwargs)
    return tracer().lift(function, args, kwargs)


def _same(drawn: Drawn, *args: Any, **kwargs: Any) -> Drawn:
    return drawn


def _rounded(drawn: Drawn, *args: Any) -> Drawn:
    return elementwise(lambda v: call_plain(int, v), drawn)


def _to(drawn: Drawn, *args: Any, **kwargs: Any) -> Drawn:
    dtype = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)), None)
    if dtype is None or dtype.is_floating_point:
        return drawn
    return _truth(drawn) if dtype == torch.bool else _rounded(drawn)


def _truth(drawn: Drawn) -> Drawn:
    return elementwise(truth, drawn)


def _reduce(function: Callable[[Any, Any], Any], start: Any) -> Callable[..., Any]:
    def reduce(drawn: Drawn, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            refuse_one(drawn, "along an axis")
        total = start
        for value in drawn.values.reshape(-1):
            total = function(total, value)
        return Drawn(boxed(total), drawn.like)

    return reduce


def _reshaped(drawn: Drawn, *shape: Any) -> Drawn:
    flat = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list | torch.Size) else shape
    return Drawn(drawn.values.reshape(flat), drawn.like)


METHODS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            "float",
            "double",
            "half",
            "cpu",
            "detach",
            "clone",
            "numpy",
            "contiguous",
            "type_as",
            "copy",
            "requires_grad_",
        ),
        _same,
    ),
    **dict.fromkeys(("long", "int", "short"), _rounded),
    "to": _to,
    "type": _to,
    "astype": lambda drawn, kind: _truth(drawn) if kind in (bool, np.bool_) else drawn,
    "bool": _truth,
    "tolist": lambda drawn: drawn.values.tolist() if drawn.values.ndim else drawn.item(),
    "squeeze": lambda drawn, *axis: Drawn(drawn.values.squeeze(*axis), drawn.like),
    "unsqueeze": lambda drawn, axis: Drawn(np.expand_dims(drawn.values, axis), drawn.like),
    "flatten": lambda drawn: Drawn(drawn.values.reshape(-1), drawn.like),
    "view": _reshaped,
    "reshape": _reshaped,
    "numel": lambda drawn: drawn.values.size,
    "dim": lambda drawn: drawn.values.ndim,
    "any": _reduce(lambda a, b: operate(operator.or_, a, truth(b)), False),
    "all": _reduce(lambda a, b: operate(operator.and_, a, truth(b)), True),
    "sum": _reduce(lambda a, b: operate(operator.add, a, b), 0),
    "unbind": lambda drawn: tuple(drawn),
    "floor": lambda drawn: elementwise(lambda v: call_plain(math.floor, v), drawn),
    "floor_": lambda drawn: _in_place(drawn, lambda v: call_plain(math.floor, v)),
    "ceil": lambda drawn: elementwise(lambda v: call_plain(math.ceil, v), drawn),
    "round": lambda drawn: elementwise(lambda v: call_plain(round, v), drawn),
    "trunc": lambda drawn: elementwise(lambda v: call_plain(math.trunc, v), drawn),
    "logical_not": lambda drawn: elementwise(lambda v: operate(operator.eq, truth(v), False), drawn),
    **{n: (lambda f: lambda drawn, other: operate(f, drawn, other))(getattr(operator, n)) for n in COMPARISONS},
    "add": lambda drawn, other: operate(operator.add, drawn, other),
    "sub": lambda drawn, other: operate(operator.sub, drawn, other),
    "mul": lambda drawn, other: operate(operator.mul, drawn, other),
    "div": lambda drawn, other: operate(operator.truediv, drawn, other),
    "div_": lambda drawn, other: _in_place(drawn, lambda v: operate(operator.truediv, v, other)),
    "mul_": lambda drawn, other: _in_place(drawn, lambda v: operate(operator.mul, v, other)),
    "logical_and": lambda drawn, other: operate(operator.and_, _truth(drawn), other),
    "logical_or": lambda drawn, other: operate(operator.or_, _truth(drawn), other),
}


def _in_place(drawn: Drawn, function: Callable[[Any], Any]) -> Drawn:
    drawn.values = elementwise(function, drawn).values
    return drawn


def drawn_method(drawn: Drawn, name: str) -> Callable[..., Any]:
    """Returns a method of an array of draws.

    Raises:
        CaptureError: there is none that only chooses.
    """
    if name not in METHODS:
        tracer().refuse(CHOOSES, f"one that is used as a number, by .{name}", "make the number an input of the model")
    return lambda *args, **kwargs: METHODS[name](drawn, *args, **kwargs)
