"""Arithmetic and comparisons of values that depend on decisions, and of draws."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import replace
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
        return True  # zero itself has no probability
    if has_tensors(value):
        return tracer().lift(bool, (value,), {})
    return plain(dd.apply(bool, diagram_of(value)))


def elementwise(function: Callable[..., Any], *operands: Any, kind: torch.dtype | None = None) -> Drawn:
    """Returns the array of what ``function`` gives for the elements, broadcast as numpy does.

    Args:
        function: of elements.
        operands: arrays of draws, and constants.
        kind: the dtype of the result, where it is known.
    """
    like = next(o.like for o in operands if isinstance(o, Drawn))
    arrays = np.broadcast_arrays(*(o.values if isinstance(o, Drawn) else _array(o) for o in operands))
    found = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(found.shape):
        found[index] = function(*(a[index] for a in arrays))
    return Drawn(found, like, kind)


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
        return elementwise(lambda v: operate(_inverted, v), *operands, kind=operands[0].kind)
    if any(isinstance(o, Drawn) for o in operands):
        kind = _kind_of(function, operands)
        return elementwise(lambda *values: operate(function, *values), *operands, kind=kind)
    if any(isinstance(o, torch.Tensor) for o in operands):
        return operate(function, *(_array(o).item() if isinstance(o, torch.Tensor) else o for o in operands))
    if any(isinstance(o, UniformDraw) for o in operands):
        return _operate_uniform(function, *operands)
    return plain(dd.apply(function, *(_settled_diagram(o) for o in operands)))


def _kind_of(function: Callable[..., Any], operands: tuple[Any, ...]) -> torch.dtype | None:
    """The dtype of what torch makes of arrays of draws, and constants; None where it is not known."""
    if any(isinstance(o, Drawn) and o.kind is None for o in operands):
        return None
    if function in _COMPARES:
        return torch.bool
    like = [torch.empty((1,) * o.values.ndim, dtype=o.kind) if isinstance(o, Drawn) else o for o in operands]
    if not all(isinstance(o, torch.Tensor | bool | int | float) for o in like):
        return None
    found = like[0].dtype if len(like) == 1 else torch.result_type(*like)
    return torch.get_default_dtype() if function is operator.truediv and not found.is_floating_point else found


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
        return replace(values[0], scale=-values[0].scale, offset=-values[0].offset)
    name = getattr(function, "__name__", function)
    do = "compare it with a number, or make it an input of the model"
    if name == "abs":
        do = "compare it on both sides: draw < -1 or draw > 1"
    tracer().refuse(CHOOSES, f"one that is used as a number, by {name}", do)


def _affine(function: Callable[..., Any], draw: UniformDraw, other: float, first: bool) -> UniformDraw | None:
    scale, offset = draw.scale, draw.offset
    if function is operator.add:
        return replace(draw, offset=offset + other)
    if function is operator.sub:
        return replace(draw, scale=scale if first else -scale, offset=offset - other if first else other - offset)
    if function is operator.mul and other:
        return replace(draw, scale=scale * other, offset=offset * other)
    if function is operator.truediv and first and other:
        return replace(draw, scale=scale / other, offset=offset / other)
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


def _copied(drawn: Drawn, *args: Any, **kwargs: Any) -> Drawn:
    return drawn.viewed(drawn.values.copy())


def _rounded(drawn: Drawn, *args: Any, kind: torch.dtype = torch.int64) -> Drawn:
    return elementwise(lambda v: call_plain(int, v), drawn, kind=kind if drawn.like == "torch" else None)


def _real(drawn: Drawn, *args: Any, kind: torch.dtype | None = torch.float32) -> Drawn:
    return elementwise(lambda v: call_plain(float, v), drawn, kind=kind if drawn.like == "torch" else None)


def _to(drawn: Drawn, *args: Any, **kwargs: Any) -> Drawn:
    dtype = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype)), None)
    if dtype is None or dtype == drawn.kind:
        return drawn
    if dtype.is_floating_point:
        return _real(drawn, kind=dtype)
    return _truth(drawn) if dtype == torch.bool else _rounded(drawn, kind=dtype)


def _truth(drawn: Drawn) -> Drawn:
    return elementwise(truth, drawn, kind=torch.bool if drawn.like == "torch" else None)


def _reduce(function: Callable[[Any, Any], Any], start: Any) -> Callable[..., Any]:
    def reduce(drawn: Drawn, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            refuse_one(drawn, "along an axis")
        total = start
        for value in drawn.values.reshape(-1):
            total = function(total, value)
        kind = drawn.kind
        if kind is not None:
            kind = torch.bool if isinstance(start, bool) else kind if kind.is_floating_point else torch.int64
        return Drawn(boxed(total), drawn.like, kind)

    return reduce


def _clamped(drawn: Drawn, min: Any = None, max: Any = None) -> Drawn:
    found = drawn if min is None else _larger(drawn, min)
    return found if max is None else _smaller(found, max)


def _larger(drawn: Drawn, *other: Any) -> Drawn:
    return _extreme(_MAX, drawn, *other)


def _smaller(drawn: Drawn, *other: Any) -> Drawn:
    return _extreme(_MIN, drawn, *other)


_MAX, _MIN = max, min  # torch.export replaces them while it traces


def _not_an_axis(drawn: Drawn, other: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the other array of a maximum or minimum; numbers there mean axes."""
    if not all(isinstance(o, Drawn | torch.Tensor) for o in other):
        refuse_one(drawn, "along an axis")
    return other


def _extreme(function: Callable[[Any, Any], Any], drawn: Drawn, *other: Any) -> Drawn:
    """The larger, or the smaller, of two arrays element by element; of one, of its elements."""
    if other and isinstance(other[0], Drawn | torch.Tensor):
        pair = (drawn, other[0])
        return elementwise(lambda *values: call_plain(function, *values), *pair, kind=_kind_of(operator.add, pair))
    if other:
        return elementwise(lambda v: call_plain(function, v, other[0]), drawn, kind=drawn.kind)
    found = functools.reduce(lambda a, b: call_plain(function, a, b), drawn.values.reshape(-1))
    return Drawn(boxed(found), drawn.like, drawn.kind)


def _reshaped(drawn: Drawn, *shape: Any) -> Drawn:
    flat = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list | torch.Size) else shape
    return drawn.viewed(drawn.values.reshape(flat))


_CASTS = {
    **{"float": torch.float32, "double": torch.float64, "half": torch.float16},
    **{"long": torch.int64, "int": torch.int32, "short": torch.int16},
}

METHODS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            "cpu",
            "detach",
            "contiguous",
            "requires_grad_",
        ),
        _same,
    ),
    **dict.fromkeys(("clone", "copy"), _copied),
    "numpy": lambda drawn: Drawn(drawn.values, "numpy"),
    **{n: functools.partial(_to, dtype=d) for n, d in _CASTS.items()},
    "type_as": lambda drawn, other: _to(drawn, other.dtype),
    "to": _to,
    "type": _to,
    "astype": lambda drawn, kind: _truth(drawn) if kind in (bool, np.bool_) else drawn,
    "bool": _truth,
    "tolist": lambda drawn: drawn.values.tolist() if drawn.values.ndim else drawn.item(),
    "squeeze": lambda drawn, *axis: drawn.viewed(drawn.values.squeeze(*axis)),
    "unsqueeze": lambda drawn, axis: drawn.viewed(np.expand_dims(drawn.values, axis)),
    "flatten": lambda drawn: drawn.viewed(drawn.values.reshape(-1)),
    "view": _reshaped,
    "reshape": _reshaped,
    "numel": lambda drawn: drawn.values.size,
    "dim": lambda drawn: drawn.values.ndim,
    "any": _reduce(lambda a, b: operate(operator.or_, a, truth(b)), False),
    "all": _reduce(lambda a, b: operate(operator.and_, a, truth(b)), True),
    "sum": _reduce(lambda a, b: operate(operator.add, a, b), 0),
    **dict.fromkeys(("clamp", "clip"), _clamped),
    **dict.fromkeys(("clamp_min", "maximum"), _larger),
    **dict.fromkeys(("clamp_max", "minimum"), _smaller),
    "max": lambda drawn, *other: _larger(drawn, *_not_an_axis(drawn, other)),
    "min": lambda drawn, *other: _smaller(drawn, *_not_an_axis(drawn, other)),
    "unbind": lambda drawn: tuple(drawn),
    "floor": lambda drawn: elementwise(lambda v: call_plain(math.floor, v), drawn, kind=drawn.kind),
    "floor_": lambda drawn: _in_place(drawn, lambda v: call_plain(math.floor, v)),
    "ceil": lambda drawn: elementwise(lambda v: call_plain(math.ceil, v), drawn, kind=drawn.kind),
    "round": lambda drawn: elementwise(lambda v: call_plain(round, v), drawn, kind=drawn.kind),
    "trunc": lambda drawn: elementwise(lambda v: call_plain(math.trunc, v), drawn, kind=drawn.kind),
    "logical_not": lambda drawn: elementwise(lambda v: operate(operator.eq, truth(v), False), drawn, kind=torch.bool),
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
    drawn.values[...] = elementwise(function, drawn).values
    return drawn


def drawn_method(drawn: Drawn, name: str) -> Callable[..., Any]:
    """Returns a method of an array of draws.

    Raises:
        CaptureError: there is none that only chooses.
    """
    if name not in METHODS:
        tracer().refuse(CHOOSES, f"one that is used as a number, by .{name}", "make the number an input of the model")
    return lambda *args, **kwargs: METHODS[name](drawn, *args, **kwargs)
