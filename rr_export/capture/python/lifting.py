"""Functions of values that vary: called once for every value that their arguments can have."""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain, operate, operate_torch, truth
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.notes import CONDITION
from rr_export.capture.python.plain_access import look
from rr_export.capture.python.random_functions import TORCH
from rr_export.capture.python.shapes import MOST_COPIES, is_apart
from rr_export.capture.python.splitting import Splitter
from rr_export.capture.python.values import (
    MOST_WAYS,
    ROUNDINGS,
    Caller,
    Drawn,
    Later,
    UniformDraw,
    Varying,
    at_hand,
    diagram_here,
    is_symbolic,
    plain,
    varies,
)
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.capture.refusals import described
from rr_export.errors import CaptureError

# builtins that only compute: called once for every value
PURE: frozenset[Any] = frozenset(
    {abs, bool, divmod, float, int, len, max, min, pow, range, round, str, sum, sorted, tuple, repr, hash, ord, chr}
    | {isinstance, issubclass, type, getattr, hasattr, id, callable, list, dict, set, zip, enumerate, reversed}
    | set(ROUNDINGS)
    | {f for f in vars(operator).values() if callable(f) and not isinstance(f, type)}
)

# functions that make a tensor of plain numbers
MAKING: frozenset[Any] = frozenset({torch.tensor, torch.as_tensor, torch.full})

# methods of plain containers and strings that only compute
PURE_METHODS = frozenset(
    {
        "keys",
        "values",
        "items",
        "get",
        "index",
        "count",
        "copy",
        "upper",
        "lower",
        "strip",
        "split",
        "startswith",
        "endswith",
    }
    | {"union", "intersection", "difference", "issubset", "isdigit", "format", "join", "replace", "title", "bit_length"}
)

# builtins that look at a container alone, whatever it holds
_OF_FORM: tuple[Any, ...] = (list, tuple, zip, enumerate, reversed, len, isinstance, type, id, callable)

CALLEE = object()  # in place of a function: the first argument is what to call, and may vary


@dataclass(frozen=True)
class Method:
    """In place of a function: a method of the first argument, which may vary."""

    name: str

    def of(self, owner: Any) -> Any:
        """Returns the method bound to its owner."""
        return getattr(owner, self.name)


class Lifter:
    """Calls functions of values that vary.

    Args:
        ledger: the decisions.
        splitter: runs the calls that need branches of the graph.
        numbers: those that are the same in every run.
        whereabouts: where the code is.
        call: how a function is called for one value of its arguments.
    """

    def __init__(
        self,
        ledger: Ledger,
        splitter: Splitter,
        numbers: KnownNumbers,
        whereabouts: Whereabouts,
        call: Caller,
    ) -> None:
        self._ledger, self._splitter, self._numbers, self._whereabouts = ledger, splitter, numbers, whereabouts
        self._call = call
        self._copies = 0

    def lift(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what ``function`` gives, called once for every combination of values that its arguments can have."""
        # what holds nothing that varies is handed on as it is, not copied
        flat, spec = pytree.tree_flatten((args, kwargs), is_leaf=lambda v: is_symbolic(v) or not varies(v))
        diagrams = [self._array(v) if isinstance(v, Drawn) else diagram_here(v) for v in flat]
        joint = self._ledger.here(dd.apply(lambda *values: values, *diagrams))

        def call(values: Any) -> Any:
            made = [v.tensor() if isinstance(v, _Numbers) else at_hand(v) for v in values]
            given, named = pytree.tree_unflatten(made, spec)
            if function is CALLEE or isinstance(function, Method):
                first = function.of(given[0]) if isinstance(function, Method) else given[0]
                return self._call(first, given[1:], named)
            return self._call(function, given, named)

        def compute(*values: Any) -> Any:
            found = call(values[0])
            return Later(lambda: call(values[0])) if isinstance(found, torch.Tensor) else found

        ways = dd.leaves(joint)
        if len(ways) == 1:
            return call(ways[0])
        if len(ways) > MOST_WAYS:
            self._refuse_ways(joint, len(ways))
        if self._computes(function, flat, ways):
            return plain(_flattened(dd.apply(compute, joint)))
        which = dd.apply(lambda v: next(k for k, w in enumerate(ways) if dd.same(w, v)), joint)
        arm = call
        if any(map(is_apart, flat)):
            self._count_copies(len(ways))
            arm = functools.partial(self._with_shapes, call)
        return self._splitter.split(which, len(ways), lambda k: arm(ways[k]), self._way_names(flat, ways), _own(ways))

    def _with_shapes(self, call: Callable[[Any], Any], way: Any) -> Any:
        """The result for one of the shapes that tensors may have."""
        try:
            return call(way)
        except CaptureError:
            raise
        except Exception as error:
            given = " and ".join(str(list(v.shape)) for v in way if isinstance(v, torch.Tensor))
            raise CaptureError(
                f"{self._whereabouts.line()}: expected what follows to take every shape that decisions leave, got "
                f"{described(error)} for {given}; let one decision choose what belongs together, such as the layers of "
                "one rr.OperationChoice"
            ) from error

    def _refuse_ways(self, joint: dd.Diagram, count: int) -> NoReturn:
        expected = f"a choice among at most {MOST_WAYS} values"
        if len(dd.decisions(joint)) == 1:
            self._whereabouts.refuse(expected, f"one among {count}", "decide among fewer")
        self._whereabouts.refuse(
            expected,
            f"{count} combinations of draws at once",
            "draw one number for the whole batch (batch size 1, or mode='batch'), or make them an input",
        )

    def _count_copies(self, count: int) -> None:
        """Raises where too much is computed once for every shape."""
        self._copies += count
        if self._copies > MOST_COPIES:
            self._whereabouts.refuse(
                f"shapes that agree again before {MOST_COPIES} steps are computed, counted once for every shape",
                "more",
                "let the shapes agree earlier, decide among fewer, or put what depends on them into one module",
            )

    def each(self, value: Varying, act: Callable[[Any], None]) -> None:
        """Does something to each of the objects that a value may be, where it is that one."""
        which = self._ledger.here(value.diagram)
        ways = dd.leaves(which)
        places = dd.apply(lambda v: next(k for k, w in enumerate(ways) if dd.same(w, v)), which)
        self._splitter.split(places, len(ways), lambda k: act(at_hand(ways[k])))

    def _computes(self, function: Any, flat: Sequence[Any], ways: Sequence[Any]) -> bool:
        """Whether calls only compute what is the same in every run, so that they need no branch of the graph."""
        if any(map(is_apart, flat)):
            return False
        values = pytree.tree_leaves(list(itertools.chain(flat, *ways)), is_leaf=is_symbolic)
        tensors = any(isinstance(v, torch.Tensor | Later | _Numbers) for v in values)
        if tensors and not all(self._numbers.is_constant(v) for v in values if isinstance(v, torch.Tensor)):
            return False
        if tensors and function is bool and self._numbers.is_mistaken(CONDITION):
            return False  # each is a decision of its own, where it is asked
        if isinstance(function, Method):
            return all(_is_pure_method(way[0], function.name) for way in ways)
        if function is CALLEE:
            return False
        return (
            function in PURE
            or function in MAKING
            or (isinstance(function, type) and issubclass(function, Distribution))
        )

    def _way_names(self, flat: Sequence[Any], ways: Sequence[Any]) -> tuple[str, ...]:
        varying = [i for i, v in enumerate(flat) if is_symbolic(v)]
        names = []
        for k, way in enumerate(ways):
            values = [way[i] for i in varying]
            names.append(",".join(_way_name(v) or str(k) for v in values))
        return tuple(names) if len(set(names)) == len(names) else tuple(map(str, range(len(ways))))

    def number(self, tensor: torch.Tensor, use: str) -> Any:
        """Returns the number in a tensor that is the same in every run.

        Raises:
            CaptureError: it depends on the input; the text says what for it is wanted.
        """
        found = self._numbers.constant(tensor)
        if found is None:
            self._numbers.refuse_number(use, "leave it out of what is computed")
        return found.item()

    def _array(self, drawn: Drawn) -> dd.Diagram:
        """The values of an array of draws as tensors or numpy arrays."""
        elements = [diagram_here(v) for v in drawn.values.reshape(-1)]
        if len(elements) > 1 and len(set().union(*map(dd.decisions, elements))) > 1:
            self._whereabouts.refuse(
                "one draw for the whole batch",
                f"{len(elements)} numbers that are drawn, used together as a tensor, such as one for each row",
                "draw one number (batch size 1, or mode='batch'), or use the numbers one by one",
            )

        def build(*values: Any) -> Any:
            if drawn.like == "numpy":
                return np.array(values).reshape(drawn.values.shape)
            return _Numbers((drawn.values.shape, drawn.kind, *values))

        return dd.apply(build, *elements)

    def call_varied(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of something that is not interpreted gives where arguments may vary."""
        owner = look(function, "__self__")
        if isinstance(owner, Drawn | Varying | UniformDraw) or _stores(function, owner):
            return function(*args, **kwargs)  # a list may hold what varies
        if any(isinstance(a, Drawn | UniformDraw) for a in args) and _is_of_torch(function):
            return operate_torch(function, args, kwargs)
        if function in _OF_FORM and all(not isinstance(a, Varying) for a in args):
            if not any(isinstance(a, UniformDraw | Drawn) for a in args):
                return function(*args, **kwargs)  # of the container, not of what it holds
            if function in (list, tuple, zip, enumerate, reversed):
                return function(*args, **kwargs)
        if function in (any, all, sum) and len(args) == 1 and not isinstance(args[0], Varying):
            return _reduced(function, list(args[0]))
        if function in (isinstance, type, id, callable) and isinstance(args[0], Drawn | UniformDraw):
            return function(*((torch.zeros(()) if isinstance(args[0], Drawn) else 0.0), *args[1:]))
        if function in PURE and not kwargs and not any(isinstance(a, torch.Tensor | list | tuple | dict) for a in args):
            return call_plain(function, *args)
        return self.lift(function, args, kwargs)


def _way_name(value: Any) -> str:
    """What to call the branch in which something has this value: a tensor by its shape."""
    if isinstance(value, torch.Tensor):
        return "x".join(map(str, value.shape))
    return str(value) if isinstance(value, bool | int | float | str) else ""


def _own(ways: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors that are handed over in one of the ways alone."""
    tensors = [v for way in ways for v in {id(v): v for v in way}.values() if isinstance(v, torch.Tensor)]
    times = Counter(map(id, tensors))
    return [v for v in tensors if times[id(v)] == 1]


def _flattened(diagram: dd.Diagram) -> dd.Diagram:
    """A diagram whose values may vary themselves, as one of what they may be."""
    found = dd.leaves(diagram)
    if not any(isinstance(v, Varying) for v in found):
        return diagram
    which = dd.apply(lambda v: next(k for k, one in enumerate(found) if dd.same(one, v)), diagram)
    return dd.choose(which, [v.diagram if isinstance(v, Varying) else dd.Leaf(v) for v in found])


def _reduced(function: Any, items: list[Any]) -> Any:
    if function is sum:
        return functools.reduce(lambda a, b: operate(operator.add, a, b), items, 0)
    joined = operator.or_ if function is any else operator.and_
    return functools.reduce(lambda a, b: operate(joined, a, truth(b)), items, function is all)


class _Numbers(tuple[Any, ...]):
    """The shape and then the values of drawn numbers, made a tensor where they are used."""

    def tensor(self) -> torch.Tensor:
        """Returns the tensor."""
        shape, kind, *values = self
        if kind is not None:
            return torch.tensor(values, dtype=kind).reshape(shape)
        flat = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values]
        return torch.tensor(flat).reshape(shape)


def _is_of_torch(function: Any) -> bool:
    return str(look(function, "__module__") or "torch").partition(".")[0] == "torch" and not isinstance(
        function, type | nn.Module
    )


def _is_pure_method(owner: Any, name: str) -> bool:
    """Whether a method changes nothing and draws nothing."""
    if isinstance(owner, Later | torch.Tensor):
        return not name.endswith("_") and getattr(torch.Tensor, name, None) not in TORCH
    return isinstance(owner, dict | list | tuple | str | range | set | frozenset | int | float) and name in PURE_METHODS


def _stores(function: Any, owner: Any) -> bool:
    name = look(function, "__name__", "")
    return isinstance(owner, list | dict | set) and name in (
        "append",
        "extend",
        "insert",
        "update",
        "setdefault",
        "add",
    )
