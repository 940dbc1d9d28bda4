"""Python values while every decision goes all its ways: varying ones, draws, and what must not be read.

They take part in arithmetic and comparisons as the values that they stand for do; what needs one definite value
(``bool``, an index, a loop's length) asks the tracer to go all ways, or is refused.
"""

from __future__ import annotations

import enum
import itertools
import math
import operator
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Line
from rr_export.capture.python.quantiles import QUANTILES

# what is expected where a draw is used otherwise than to choose
CHOOSES, DEFINITE = "a draw that chooses", "a value that is the same on every path"
MOST_WAYS = 64  # a value that varies may have so many values where all of them must be tried

Caller = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # calls a function, whose arguments may vary

BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift", "matmul")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
UNARY = ("neg", "pos", "abs", "invert")


class Tracer(Protocol):
    """What runs the model so that every decision goes all its ways."""

    @property
    def guard(self) -> dd.Diagram:
        """How the decisions went, where the code runs now."""

    def lift(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what ``function`` gives, called once for every combination of values that its arguments can have."""

    def constant(self, tensor: torch.Tensor) -> NDArray[Any] | None:
        """Returns the numbers of a tensor that is the same in every run, None where it depends on the input."""

    def operate(self, function: Callable[..., Any], *operands: Any) -> Any:
        """Returns ``function`` of values of which some depend on decisions."""

    def operate_torch(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a function of torch gives where an argument is a draw or varies."""

    def drawn_method(self, drawn: Drawn, name: str) -> Callable[..., Any]:
        """Returns a method of an array of draws."""

    def compare_varying(self, draw: UniformDraw, number: Varying, below: bool) -> Any:
        """Returns whether a draw is below a number that depends on a decision, or not."""

    def compares(self, draw: UniformDraw) -> None:
        """A draw is compared with a number that is the same on every path."""

    def line(self) -> Line | None:
        """Returns the line of interpreted code that runs; None: there is none."""

    def tensor_attribute(self, value: Varying, name: str) -> Any:
        """Returns an attribute of a value that is one of several tensors."""

    def refuse(self, expected: str, got: str, do: str) -> NoReturn:
        """Raises a CaptureError that names the line."""


active_interpreter: ContextVar[Tracer | None] = ContextVar("rr_python_tracer", default=None)


def tracer() -> Tracer:
    """Returns what is tracing now."""
    found = active_interpreter.get()
    assert found is not None, "a value of a trace is used after it"
    return found


def refuse_one(value: Any, use: str) -> NoReturn:
    """Raises: native code wants one definite value of something that depends on a decision."""
    tracer().refuse(
        DEFINITE,
        f"one that depends on a decision, used {use} by code that is not converted",
        "use it in the model's own code, as a condition or an index, in a function that defines no class",
    )


class _Operators:
    """Operators that go through :func:`operate`."""

    def __bool__(self) -> bool:
        refuse_one(self, "as a condition")

    def __index__(self) -> int:
        refuse_one(self, "as an index")

    def __int__(self) -> int:
        refuse_one(self, "as an integer")

    def __float__(self) -> float:
        refuse_one(self, "as a number")

    def __iter__(self) -> Iterator[Any]:
        refuse_one(self, "as a sequence")

    def __len__(self) -> int:
        refuse_one(self, "as a sequence")

    __hash__ = None  # type: ignore[assignment]


def _install(name: str, dunder: str, reflected: str | None) -> None:
    function = getattr(operator, name)

    def forward(self: Any, *other: Any) -> Any:
        return tracer().operate(function, self, *other)

    setattr(_Operators, dunder, forward)
    if reflected is not None:
        setattr(_Operators, reflected, lambda self, other: tracer().operate(function, other, self))


for _name in BINARY:
    _stem = _name.rstrip("_")
    _install(_name, f"__{_stem}__", f"__r{_stem}__")
for _name in (*COMPARISONS, *UNARY):
    _install(_name, f"__{_name}__", None)


@dataclass(eq=False)
class Varying(_Operators):
    """A Python value that depends on decisions."""

    diagram: dd.Diagram

    def __rr_holds__(self) -> list[Any]:
        """Returns the values that it may have."""
        return dd.leaves(self.diagram)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return tracer().operate_torch(function, args, kwargs or {})

    def item(self) -> Any:
        """Returns itself, as a number does."""
        return tracer().lift(float, (self,), {}) if has_tensors(self) else self

    def __getattr__(self, name: str) -> Any:
        """Code that is not interpreted takes it for a tensor, where it is one of several."""
        if not name.startswith("__") and hasattr(torch.Tensor, name) and has_tensors(self):
            return tracer().tensor_attribute(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@dataclass(eq=False)
class UniformDraw(_Operators):
    """The number ``scale * quantile(u) + offset`` of a draw u, uniform in [0, 1)."""

    decision: int
    scale: float = 1.0
    offset: float = 0.0
    quantile: str = "uniform"

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return tracer().operate_torch(function, args, kwargs or {})

    def item(self) -> Any:
        """Returns itself, as a number does."""
        return self

    def position(self, number: float) -> float:
        """Returns which u, in [0, 1], gives this number, or the end beyond which it lies."""
        return QUANTILES[self.quantile].share((number - self.offset) / self.scale)

    def below(self, number: float) -> dd.Diagram:
        """Returns where this is less than ``number``, up to single points."""
        tracer().compares(self)
        cut = self.position(number)
        low, high = (dd.TRUE, dd.FALSE) if self.scale > 0 else (dd.FALSE, dd.TRUE)
        if not 0 < cut < 1:
            return low if cut >= 1 else high
        return dd.node(self.decision, (cut,), (low, high))

    def rounded(self, function: Callable[[float], int]) -> Any:
        """Returns ``floor``, ``ceil``, ``trunc`` or ``round`` of this."""
        tracer().compares(self)
        if not QUANTILES[self.quantile].bounded:
            tracer().refuse(CHOOSES, "one without bounds that is rounded", "compare it with numbers")
        least, most = sorted((self.offset, self.offset + self.scale))
        halves = range(math.floor(2 * least), math.ceil(2 * most) + 1)
        cuts = sorted(c for c in ((h / 2 - self.offset) / self.scale for h in halves) if 0 < c < 1)
        edges = [0.0, *cuts, 1.0]
        middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
        return plain(dd.node(self.decision, cuts, [dd.Leaf(function(self.scale * m + self.offset)) for m in middles]))


ROUNDINGS: dict[Any, Callable[[float], int]] = {
    int: math.trunc,
    math.floor: math.floor,
    math.ceil: math.ceil,
    math.trunc: math.trunc,
    round: round,
}


class Drawn(_Operators):
    """An array of draws, and of what was made of them element by element.

    Attributes:
        values: the elements; views of an array share memory with it, as those of torch and numpy do.
        like: "torch" or "numpy".
        kind: the dtype of a tensor, where it is known.
    """

    def __init__(self, values: NDArray[Any], like: str, kind: torch.dtype | None = None) -> None:
        owner = values if values.base is None else values.base
        if owner.ndim != 1:
            flat = np.empty(values.size, dtype=object)
            flat[:] = values.reshape(-1)
            values = flat.reshape(values.shape)
        self.values, self.like, self.kind = values, like, kind

    @property
    def cells(self) -> NDArray[Any]:
        """The memory of the elements, object [N]."""
        return self.values if self.values.base is None else self.values.base

    def viewed(self, values: NDArray[Any]) -> Drawn:
        """Returns some of the elements, or all in another shape."""
        return Drawn(values, self.like, self.kind)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value.values if isinstance(value, Drawn) else value

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return tracer().operate_torch(function, args, kwargs or {})

    def __getitem__(self, key: Any) -> Any:
        if key == () or (isinstance(key, int) and self.values.ndim == 1):
            key = (key, ...) if key != () else ...  # a view of one element
        found = self.values[key]
        return self.viewed(found if isinstance(found, np.ndarray) else boxed(found))

    def __repr__(self) -> str:
        return f"{self.values.size} numbers that are drawn"

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.values)))

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim", "size") and self.like == "numpy":
            return getattr(self.values, name)
        if name in ("T", "mT"):
            return self.viewed(self.values.T)
        if name == "shape":
            return torch.Size(self.values.shape)
        if name in ("device", "dtype"):
            return torch.device("cpu") if name == "device" else self.kind or torch.get_default_dtype()
        return tracer().drawn_method(self, name)

    def item(self) -> Any:
        """Returns the only element."""
        if self.values.size != 1:
            refuse_one(self, "as one number")
        return self.values.reshape(-1)[0]


class Later:
    """A tensor that is the same in every run, computed where it is used: only the branch that uses it does."""

    def __init__(self, make: Callable[[], torch.Tensor]) -> None:
        self.now = make


@dataclass(eq=False)
class Sifted:
    """A sequence in which an element is there only on some paths: one of its own, or a view of a list.

    Attributes:
        own: every element that may be there, with whether it is: a bool, or what varies.
        origin: the list that it is a view of; None: it is none.
        there: gives, for every element of that list as it is now, whether it is there.
    """

    own: list[tuple[Any, Any]] = field(default_factory=list)
    origin: list[Any] | None = None
    there: Callable[[], list[Any]] | None = None

    def __rr_holds__(self) -> list[Any]:
        """Returns what it is a view of, or its elements."""
        return [value for _, value in self.own] if self.origin is None else [self.origin]

    @property
    def elements(self) -> list[tuple[Any, Any]]:
        """All elements, of which some may not be read."""
        if self.origin is None or self.there is None:
            return self.own
        return list(zip(self.there(), self.origin, strict=True))

    @property
    def unreadable(self) -> Poison | None:
        """Why an element must not be read; None: all may be."""
        return next((value for _, value in self.elements if isinstance(value, Poison)), None)

    def whole(self) -> Any:
        """Returns it as a list that varies, whose elements are read."""
        reason = self.unreadable
        if reason is not None:
            tracer().refuse(reason.expected, reason.got, reason.do)
        return plain(dd.apply(list, self.forms()))

    def forms(self) -> dd.Diagram:
        """Returns which elements are there, as a tuple."""
        guard, form = tracer().guard, plain_diagram(())
        for there, value in self.elements:
            added = dd.apply(lambda held, v: (v,) if held else (), diagram_of(there), diagram_of(value))
            form = dd.given(dd.apply(operator.add, form, added), guard)
            if len(dd.leaves(form)) > MOST_WAYS:
                tracer().refuse(
                    f"a sequence with at most {MOST_WAYS} forms where it is used as a whole",
                    f"one of which {len(self.elements)} elements may be missing",
                    "loop over it",
                )
        return form

    def length(self) -> Any:
        """Returns how many elements are there."""
        total = plain_diagram(0)
        for there, _ in self.elements:
            total = dd.apply(operator.add, total, dd.apply(int, diagram_of(there)))
        return plain(dd.given(total, tracer().guard))

    def __bool__(self) -> bool:
        refuse_one(self, "as a condition")

    def __iter__(self) -> Iterator[Any]:
        refuse_one(self, "as a sequence")

    def __len__(self) -> int:
        refuse_one(self, "as a sequence")


@dataclass(frozen=True)
class Poison:
    """What a name holds after branches left things there that cannot be one value; reading it is refused."""

    expected: str
    got: str
    do: str


def plain_kind(value: Any) -> Any:
    """Returns what two plain values must share to be the values of one name; None: it is not a plain value."""
    if isinstance(value, bool | int | float | str | bytes | range | slice | enum.Enum | np.number):
        return type(value)
    if value is None or isinstance(value, torch.dtype | torch.device | torch.Size | type):
        return type(value)
    if isinstance(value, Later):
        return "tensor"
    if isinstance(value, nn.Module | types.FunctionType | types.MethodType | types.BuiltinFunctionType):
        return "callable"
    return "callable" if type(value).__name__ == "Closure" else None


def is_plain(value: Any) -> bool:
    """Returns whether a value is one that may vary without a branch of the graph."""
    return plain_kind(value) is not None


def plain(diagram: dd.Diagram) -> Any:
    """Returns the value itself where it does not vary, else a :class:`Varying`."""
    return diagram.value if isinstance(diagram, dd.Leaf) else Varying(diagram)


def plain_diagram(value: Any) -> dd.Diagram:
    """Returns the diagram of a value that does not vary."""
    return dd.Leaf(value)


def boxed(value: Any) -> NDArray[Any]:
    """Returns a 0-dimensional array of objects that holds ``value``."""
    array = np.empty((), dtype=object)
    array[()] = value
    return array


def leaves_of(value: Any) -> list[Any]:
    """Returns the values that a value may be."""
    return dd.leaves(value.diagram) if isinstance(value, Varying) else [value]


def is_symbolic(value: Any) -> bool:
    """Returns whether a value depends on a decision."""
    return isinstance(value, Varying | UniformDraw | Drawn)


def varies(values: Any) -> bool:
    """Returns whether any of the values, or of those in them, depends on a decision."""
    return any(is_symbolic(v) for v in pytree.tree_leaves(values, is_leaf=is_symbolic))


def at_hand(value: Any) -> Any:
    """Returns the value, computed here where it is one for later."""
    return value.now() if isinstance(value, Later) else value


def has_tensors(value: Any) -> bool:
    """Returns whether a value varies among values of which some are tensors."""
    return isinstance(value, Varying) and any(isinstance(v, Later | torch.Tensor) for v in dd.leaves(value.diagram))


def settled(value: Any) -> Any:
    """Returns the value as it is under the decisions that are made here."""
    return at_hand(plain(dd.given(value.diagram, tracer().guard))) if isinstance(value, Varying) else value


def diagram_of(value: Any) -> dd.Diagram:
    """Returns the diagram of a value that may vary."""
    if isinstance(value, Drawn):
        value = value.item()
    if isinstance(value, UniformDraw):
        tracer().refuse(
            CHOOSES,
            "one that is used as a number",
            "compare it, or make the number an input of the model",
        )
    return value.diagram if isinstance(value, Varying) else dd.Leaf(value)


def diagram_here(value: Any) -> dd.Diagram:
    """Returns the diagram of a value under the decisions that are made here; an array of draws is a list of them."""
    if isinstance(value, Drawn):
        value = value.item() if value.values.size == 1 else value.values.tolist()
    diagram = diagram_of(value)
    return dd.given(diagram, tracer().guard) if isinstance(value, Varying) else diagram
