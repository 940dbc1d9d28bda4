"""Calls of what is not interpreted, where arguments may vary."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain, drawn_method, operate, operate_torch, truth
from rr_export.capture.python.drawing import Drawing
from rr_export.capture.python.intercepting import original_of
from rr_export.capture.python.random_functions import TORCH, own_generator, reading, regularises, sample
from rr_export.capture.python.values import (
    MOST_WAYS,
    ROUNDINGS,
    Drawn,
    Later,
    Poison,
    Sifted,
    Uniform,
    Varying,
    at_hand,
    has_tensors,
    is_symbolic,
    plain,
    settled,
)
from rr_export.capture.python.varied import SIZE_ONLY, tensors_in
from rr_export.errors import CaptureError

# builtins that only compute: called once for every value
PURE: frozenset[Any] = frozenset(
    {abs, bool, divmod, float, int, len, max, min, pow, range, round, str, sum, sorted, tuple, repr, hash, ord, chr}
    | {isinstance, issubclass, type, getattr, hasattr, id, callable, list, dict, set, zip, enumerate, reversed}
    | set(ROUNDINGS)
    | {f for f in vars(operator).values() if callable(f) and not isinstance(f, type)}
)


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


CONSUMERS = (any, all, sum, list, tuple, set, max, min, sorted, dict)  # these use up an iterator
_LIST_ITERATOR: type[Any] = type(iter([]))  # what a generator expression is here

CALLEE = object()  # in place of a function: the first argument is what to call, and may vary


@dataclass(frozen=True)
class Method:
    """In place of a function: a method of the first argument, which may vary."""

    name: str

    def of(self, owner: Any) -> Any:
        """Returns the method bound to its owner."""
        return getattr(owner, self.name)


EFFECTS: frozenset[Any] = frozenset({print, input, open, breakpoint, next})


class Calls(Drawing):
    """Calls functions; where arguments vary, once for every value that they can have."""

    operate = staticmethod(operate)
    operate_torch = staticmethod(operate_torch)
    drawn_method = staticmethod(drawn_method)

    def varies(self, values: Any) -> bool:
        """Returns whether any of the values, or of those in them, depends on a decision."""
        return any(is_symbolic(v) for v in pytree.tree_leaves(values, is_leaf=is_symbolic))

    def call_native(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of something that is not interpreted gives."""
        if function is len and isinstance(args[0], Sifted):
            return args[0].length()
        args = tuple(a.whole() if isinstance(a, Sifted) else a for a in args)
        if function in CONSUMERS:
            args = tuple(list(a) if isinstance(a, _LIST_ITERATOR) else a for a in args)
        if is_symbolic(function):
            return self.lift(CALLEE, (function, *args), kwargs)
        original = original_of(function)
        if (original is not function or reading(original) is not None) and not regularises(original):
            return self.drawn(original, args, kwargs)
        if own_generator(function):
            self.refuse(
                "draws from the global generators",
                f"one from a {type(function.__self__).__name__} of its own",
                "use torch.rand, random.random or numpy.random.rand; seeds are given to the exported file",
            )
        if function in (eval, exec):
            self.refuse("code whose source is available", f"{function.__name__}()", "write it out")
        if function in (globals, locals):
            return self.names(function is globals)
        if self.depth and function in EFFECTS:
            self.refuse(
                "branches that only compute",
                f"a side effect, {function.__name__}(), that would be lost",
                "move it out of the branch",
            )
        if self.notes.replaying and isinstance(function, type) and issubclass(function, Distribution):
            kwargs = {**kwargs, "validate_args": False}  # the first run did
        if self.varies((args, kwargs)):
            return self.call_varied(function, args, kwargs)
        number = self._number_of(function, args, kwargs)
        if number is not None:
            return number
        result = function(*args, **kwargs)
        known = getattr(function, "__name__", "") in SIZE_ONLY
        if not known and not self.notes.replaying and any(t in self.varied for t in tensors_in((args, kwargs))):
            self.varied.add(result)  # also what functions make of the input that torch does not tell of
        return result

    def names(self, outer: bool) -> dict[str, Any]:
        """Returns what ``globals()`` or ``locals()`` gives in the function that runs."""
        if outer:
            return dict(self.frame.space)
        return {k: v for k, v in self.frame.scope.variables.items() if not k.startswith("<")}

    def call_method(self, owner: Varying, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a method of something that varies gives."""
        if name in ("sample", "rsample") and all(isinstance(v, Distribution) for v in dd.leaves(owner.diagram)):
            return self.drawn(sample, (owner, *args), kwargs)
        return self.lift(Method(name), (owner, *args), kwargs)

    def call_varied(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of something that is not interpreted gives where arguments may vary."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, Drawn | Varying | Uniform) or _stores(function, owner):
            return function(*args, **kwargs)  # a list may hold what varies
        if any(isinstance(a, Drawn | Uniform) for a in args) and _is_of_torch(function):
            return operate_torch(function, args, kwargs)
        if function in (list, tuple, zip, enumerate, reversed) and all(not isinstance(a, Varying) for a in args):
            return function(*args, **kwargs)
        if function in (any, all, sum) and len(args) == 1 and not isinstance(args[0], Varying):
            return self._reduced(function, list(args[0]))
        if function in (isinstance, type, id, callable) and isinstance(args[0], Drawn | Uniform):
            return function(*((torch.zeros(()) if isinstance(args[0], Drawn) else 0.0), *args[1:]))
        if function in PURE and not kwargs and not any(isinstance(a, torch.Tensor | list | tuple | dict) for a in args):
            return call_plain(function, *args)
        return self.lift(function, args, kwargs)

    def _reduced(self, function: Any, items: list[Any]) -> Any:
        if function is sum:
            return functools.reduce(lambda a, b: operate(operator.add, a, b), items, 0)
        joined = operator.or_ if function is any else operator.and_
        return functools.reduce(lambda a, b: operate(joined, a, truth(b)), items, function is all)

    def _number_of(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The number in a tensor: itself where it is the same in every run, else a tensor that stands for it."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, torch.Tensor) and getattr(function, "__name__", "") in ("item", "tolist", "numpy"):
            numbers = self.constant(owner)
            name = function.__name__
            if numbers is not None:
                return numbers if name == "numpy" else numbers.item() if name == "item" else numbers.tolist()
            if name == "item":
                return owner.reshape(()).double() if owner.is_floating_point() else owner.reshape(())
            self.refuse_number(f".{name}()", "write .item(), or use the tensor itself as the condition")
        if len(args) == 1 and not kwargs and isinstance(args[0], torch.Tensor) and function in (float, int, bool):
            numbers = self.constant(args[0])
            if numbers is not None:
                return function(numbers.reshape(()))
            if function is not bool:
                self.refuse_number(f"{function.__name__}()", "write .item(), or use the tensor itself as the condition")
            return self.holds(args[0])
        return None

    def lift(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what ``function`` gives, called once for every combination of values that its arguments can have."""
        flat, spec = pytree.tree_flatten((args, kwargs), is_leaf=is_symbolic)
        diagrams = [self._array(v) if isinstance(v, Drawn) else self._diagram(v) for v in flat]
        joint = dd.given(dd.apply(lambda *values: values, *diagrams), self.guard)

        def call(values: Any) -> Any:
            made = [v.tensor() if isinstance(v, _Numbers) else at_hand(v) for v in values]
            given, named = pytree.tree_unflatten(made, spec)
            if function is CALLEE or isinstance(function, Method):
                first = function.of(given[0]) if isinstance(function, Method) else given[0]
                return self.call(first, given[1:], named)
            return self.call(function, given, named)

        def compute(*values: Any) -> Any:
            found = call(values[0])
            return Later(lambda: call(values[0])) if isinstance(found, torch.Tensor) else found

        ways = dd.leaves(joint)
        if len(ways) == 1:
            return call(ways[0])
        if len(ways) > MOST_WAYS:
            self.refuse(
                f"a choice among at most {MOST_WAYS} values",
                f"{len(ways)} combinations of draws at once",
                "draw one number for the whole batch (batch size 1, or mode='batch'), or make them an input",
            )
        if self._computes(function, flat, ways):
            return plain(dd.apply(compute, joint))
        which = dd.apply(lambda v: next(k for k, w in enumerate(ways) if dd.same(w, v)), joint)
        return self.split(which, len(ways), lambda k: call(ways[k]), names=self._way_names(flat, ways))

    def _computes(self, function: Any, flat: Sequence[Any], ways: Sequence[Any]) -> bool:
        """Whether calls only compute what is the same in every run, so that they need no branch of the graph."""
        values = list(itertools.chain(flat, *ways))
        tensors = any(isinstance(v, torch.Tensor | Later | _Numbers) for v in values)
        if tensors and not all(self.is_constant(v) for v in values if isinstance(v, torch.Tensor)):
            return False
        if isinstance(function, Method):
            return all(_is_pure_method(way[0], function.name) for way in ways)
        if function is CALLEE:
            return False
        return function in PURE or (isinstance(function, type) and issubclass(function, Distribution))

    def _way_names(self, flat: Sequence[Any], ways: Sequence[Any]) -> tuple[str, ...]:
        varying = [i for i, v in enumerate(flat) if is_symbolic(v)]
        names = []
        for k, way in enumerate(ways):
            values = [way[i] for i in varying]
            shown = [str(v) if isinstance(v, bool | int | float | str) else str(k) for v in values]
            names.append(",".join(shown))
        return tuple(names) if len(set(names)) == len(names) else tuple(map(str, range(len(ways))))

    def _array(self, drawn: Drawn) -> dd.Diagram:
        """The values of an array of draws as tensors or numpy arrays."""
        elements = [self._diagram(v) for v in drawn.values.reshape(-1)]
        if sum(isinstance(e, dd.Node) for e in elements) > 1:
            self.refuse(
                "one draw for the whole batch",
                f"{len(elements)} numbers that are drawn, used together as a tensor, such as one for each row",
                "draw one number (batch size 1, or mode='batch'), or use the numbers one by one",
            )

        def build(*values: Any) -> Any:
            if drawn.like == "numpy":
                return np.array(values).reshape(drawn.values.shape)
            return _Numbers((drawn.values.shape, *values))

        return dd.apply(build, *elements)

    def outputs(self, result: Any) -> Any:
        """Returns what the model returns: tensors, whatever is decided."""
        values, spec = pytree.tree_flatten(result, is_leaf=is_symbolic)
        return pytree.tree_unflatten([self._output(value) for value in values], spec)

    def _output(self, value: Any) -> Any:
        if isinstance(value, Poison):
            raise CaptureError(f"model: expected {value.expected}, got {value.got}; {value.do}")
        value = settled(value)
        if has_tensors(value) and all(isinstance(v, Later | torch.Tensor) for v in dd.leaves(value.diagram)):
            return self.lift(lambda tensor: tensor.clone(), (value,), {})
        if not is_symbolic(value) and not isinstance(value, Sifted):
            return value
        got = "a number that is drawn"
        if isinstance(value, Varying):
            kinds = " and ".join(sorted({type(at_hand(v)).__name__ for v in dd.leaves(value.diagram)}))
            got = f"one of type {kinds} that depends on what is decided there"
        lines = ", ".join(sorted({str(self.decisions[d].line) for d in _decisions_in(value)}))
        raise CaptureError(
            f"{lines}: expected tensors as outputs of the model, got {got}; return what is computed from it"
        )


def _decisions_in(value: Any) -> set[int]:
    """The decisions that a value depends on."""
    if isinstance(value, Uniform):
        return {value.decision}
    if isinstance(value, Drawn):
        return set().union(*map(_decisions_in, value.values.reshape(-1)))
    if isinstance(value, Sifted):
        return set().union(*(_decisions_in(there) for there, _ in value.items))
    return dd.decisions(value.diagram) if isinstance(value, Varying) else set()


class _Numbers(tuple[Any, ...]):
    """The shape and then the values of drawn numbers, made a tensor where they are used."""

    def tensor(self) -> torch.Tensor:
        """Returns the tensor."""
        shape, *values = self
        flat = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values]
        return torch.tensor(flat).reshape(shape)


def _is_of_torch(function: Any) -> bool:
    return str(getattr(function, "__module__", None) or "torch").partition(".")[0] == "torch" and not isinstance(
        function, type | nn.Module
    )


def _is_pure_method(owner: Any, name: str) -> bool:
    """Whether a method changes nothing and draws nothing."""
    if isinstance(owner, Later | torch.Tensor):
        return not name.endswith("_") and getattr(torch.Tensor, name, None) not in TORCH
    return isinstance(owner, dict | list | tuple | str | range | set | frozenset | int | float) and name in PURE_METHODS


def _stores(function: Any, owner: Any) -> bool:
    name = getattr(function, "__name__", "")
    return isinstance(owner, list | dict | set) and name in (
        "append",
        "extend",
        "insert",
        "update",
        "setdefault",
        "add",
    )
