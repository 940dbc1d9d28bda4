"""Random functions as decisions."""

from __future__ import annotations

import abc
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap
from rr_export.capture.python.arithmetic import operate
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.intercepting import COND, cond_arguments, reseeds
from rr_export.capture.python.random_functions import IN_PLACE, REGULARISING, Asked, GeneratorGivenError, Law, reading
from rr_export.capture.python.tracing import Tracing
from rr_export.capture.python.values import CHOOSES, Drawn, Uniform, Varying, at_hand, is_symbolic, plain


class Drawing(Tracing):
    """Makes a decision of every number that is drawn."""

    @abc.abstractmethod
    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call gives."""

    @abc.abstractmethod
    def call_varied(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of something that is not interpreted gives where arguments may vary."""

    def drawn(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the numbers that a random function draws, as decisions."""
        if function is COND:
            condition, on_true, on_false, operands = cond_arguments(*args, **kwargs)
            return self.branch(
                self.as_condition(condition), lambda outcome: self.call(on_true if outcome else on_false, operands, {})
            )
        if reseeds(function):
            self.refuse(
                "draws from the global generators as they are",
                f"a generator that is seeded or made by {function.__name__}()",
                "leave it out; seeds are given to the exported file",
            )
        read = reading(function)
        assert read is not None
        if function in REGULARISING and read(self.numbers, *args, **kwargs) is None:
            return self._not_drawn(function, args, kwargs)
        asked = self._asked(lambda *a, **k: read(self.numbers, *a, **k), args, kwargs)
        first = next(a for a in dd.leaves(asked) if isinstance(a, Asked))
        if first.laws is None:
            self.refuse(
                CHOOSES,
                f"one that is used as a number ({first.why})",
                "make the numbers an input of the model, or call model.eval() if this is dropout",
            )
        elements = [self._decide(dd.apply(lambda a, i=i: a.laws[i], asked)) for i in range(len(first.laws))]
        if first.like == "python" or (first.like == "numpy" and first.shape is None):
            return elements[0]
        if first.like == "list":
            return elements
        array = np.empty(len(elements), dtype=object)
        for i, element in enumerate(elements):
            array[i] = element
        result = Drawn(array.reshape(first.shape), first.like)
        return self._in_place(args[0], result) if function in IN_PLACE else result

    def _not_drawn(self, function: Any, args: Any, kwargs: Any) -> Any:
        if any(is_symbolic(v) for v in pytree.tree_leaves((args, kwargs), is_leaf=is_symbolic)):
            return self.call_varied(function, args, kwargs)
        return self.told(function, args, kwargs, function(*args, **kwargs))

    def _in_place(self, target: Any, result: Drawn) -> Any:
        if isinstance(target, Drawn):
            target.values = result.values
            return target
        lasting = id(target) in heap.snapshot([("self", self.root)]).tensors
        if lasting or target._base is not None:
            self.refuse("draws into a tensor that one name holds", "one that others hold too", "draw a new tensor")
        for frame in self.stack:
            for name, value in frame.scope.variables.items():
                if value is target:
                    frame.scope.variables[name] = result
        return result

    def _asked(self, read: Callable[..., Asked | None], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dd.Diagram:
        def reads(*values: Any) -> Asked | None:
            given, named = pytree.tree_unflatten([at_hand(v) for v in values], spec)
            try:
                return read(*given, **named)
            except GeneratorGivenError:
                self.refuse(
                    "a draw from the global generator",
                    "one from a generator that was passed explicitly",
                    "leave the generator out; seeds are given to the exported file",
                )
            except (ValueError, TypeError, IndexError) as error:
                self.refuse("arguments of a random function", f"{type(error).__name__}: {error}", "mend them")

        flat, spec = pytree.tree_flatten((args, kwargs))
        found = dd.apply(reads, *(self._diagram(v) for v in flat))
        kinds = {(a.laws is None or len(a.laws), a.shape) for a in dd.leaves(found)}
        if len(kinds) > 1:
            self.refuse("as many numbers on every path", "calls that draw differently", "draw the same number of them")
        return found

    def _diagram(self, value: Any) -> dd.Diagram:
        if isinstance(value, Drawn):
            value = value.item() if value.values.size == 1 else value.values.tolist()
        if isinstance(value, Uniform):
            self.refuse(
                CHOOSES,
                "one that is used as a number",
                "compare it, or make the number an input of the model",
            )
        return dd.given(value.diagram, self.guard) if isinstance(value, Varying) else dd.Leaf(value)

    def _decide(self, law: dd.Diagram) -> Any:
        """A new decision with this law."""
        laws: list[Law] = dd.leaves(law)
        number = len(self.decisions)
        if all(one.probabilities is None for one in laws):
            if len(laws) > 1:
                self.refuse(
                    "a uniform draw with fixed bounds", "bounds that depend on a decision", "compare with what depends"
                )
            self._add(Decision("draw", self.line(), self.guard, dd.Leaf(Law())))
            return Uniform(number, laws[0].scale, laws[0].offset)
        counts = {len(one.values) for one in laws}
        if len(counts) > 1:
            self.refuse("as many outcomes on every path", f"{sorted(counts)}", "give the others probability 0")
        count = counts.pop()
        self._add(Decision("draw", self.line(), self.guard, law))
        if count > 1:
            self._use_law(law)
        outcomes = [dd.apply(lambda one, k=k: one.values[k], law) for k in range(count)]
        route = dd.node(number, [float(k) for k in range(1, count)], [dd.Leaf(k) for k in range(count)])
        return plain(dd.choose(route, outcomes))

    def _use_law(self, law: dd.Diagram) -> None:
        """The decisions that a law depends on are asked."""
        parents = dd.decisions(law)
        if len(parents) > 1:
            lines = ", ".join(sorted(str(self.decisions[p].line) for p in parents))
            self.refuse(
                "probabilities that depend on one decision at most",
                f"some that depend on {len(parents)} ({lines})",
                "let the law depend on the last step only, as a Markov chain's does",
            )
        self.use(law)

    def compare_varying(self, draw: Uniform, number: Varying, below: bool) -> Any:
        """Returns whether a draw is below a number that depends on a decision (outcome 0), or not."""
        decision = self.decisions[draw.decision]
        bound = dd.given(number.diagram, self.guard)
        if isinstance(bound, dd.Leaf):
            return operate(operator.lt if below else operator.ge, draw, bound.value)
        if decision.cuts or not isinstance(decision.law, dd.Leaf):
            self.refuse("a draw that is compared once", "one compared with several numbers", "draw anew")
        share = dd.apply(lambda n: min(max((float(n) - draw.offset) / draw.scale, 0.0), 1.0), bound)
        if draw.scale < 0:
            share = dd.apply(lambda s: 1 - s, share)
        decision.law = dd.apply(lambda s: Law((s, 1 - s), (0, 1)), share)
        self._use_law(decision.law)
        return plain(dd.node(draw.decision, (1.0,), (dd.Leaf(below), dd.Leaf(not below))))
