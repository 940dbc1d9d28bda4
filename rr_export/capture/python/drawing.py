"""Random functions as decisions."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import operate
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.intercepting import reseeds
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.random_functions import (
    IN_PLACE,
    MOST_OUTCOMES,
    REGULARISING,
    SHUFFLES,
    Asked,
    GeneratorGivenError,
    Law,
    reading,
)
from rr_export.capture.python.values import (
    CHOOSES,
    MOST_WAYS,
    Drawn,
    UniformDraw,
    Varying,
    at_hand,
    diagram_here,
    diagram_of,
    is_symbolic,
    plain,
    varies,
)
from rr_export.capture.python.whereabouts import Whereabouts


class ComparedAgainError(BaseException):
    """A uniform draw is compared with several numbers, of which one varies: the code is to be run again.

    Compared with one number alone, a draw is a step of a chain, with two outcomes. This one is not. No code of the
    model's own may catch it.

    Attributes:
        decision: its number.
    """

    def __init__(self, decision: int) -> None:
        super().__init__(decision)
        self.decision = decision


class Drawing:
    """Makes a decision of every number that is drawn.

    Args:
        ledger: the decisions.
        numbers: those that are the same in every run; laws are made of them.
        memory: the names of the code, which may hold what is drawn into.
        whereabouts: where the code is.
        divided: numbers of the uniform draws whose interval is cut by all that they are compared with.
    """

    def __init__(
        self,
        ledger: Ledger,
        numbers: KnownNumbers,
        memory: Memory,
        whereabouts: Whereabouts,
        divided: Collection[int] = (),
    ) -> None:
        self._ledger, self._numbers, self._memory, self._whereabouts = ledger, numbers, memory, whereabouts
        self._divided, self._compared = divided, set[int]()

    def is_off(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Returns whether a function that regularises, such as dropout, is told to draw nothing."""
        read = reading(function) if function in REGULARISING else None
        return read is not None and read(self._numbers.of_law, *args, **kwargs) is None

    def draw(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the numbers that a random function draws, as decisions."""
        if reseeds(function):
            self._whereabouts.refuse(
                "draws from the global generators as they are",
                f"a generator that is seeded or made by {function.__name__}()",
                "leave it out; seeds are given to the exported file",
            )
        asked = self._asked(function, args, kwargs)
        first = next(a for a in dd.leaves(asked) if isinstance(a, Asked))
        if first.outcomes:
            self._whereabouts.refuse(
                f"a choice with at most {MOST_OUTCOMES} outcomes",
                f"one of several without replacement that has {first.outcomes}",
                "choose among fewer, or decide for each by a coin of its own",
            )
        if first.laws is None:
            self._whereabouts.refuse(
                CHOOSES,
                f"one that is used as a number ({first.why})",
                "make the numbers an input of the model, or call model.eval() if this is dropout",
            )
        elements = self._elements(asked, first)
        if first.like == "python" or (first.like == "numpy" and first.shape is None):
            return elements[0]
        if first.like == "list":
            return self._shuffled(args[0], elements) if function in SHUFFLES else elements
        array = np.empty(len(elements), dtype=object)
        for i, element in enumerate(elements):
            array[i] = element
        result = Drawn(array.reshape(first.shape), first.like, first.dtype)
        return self._in_place(args[0], result) if function in IN_PLACE else result

    def _elements(self, asked: dd.Diagram, first: Asked) -> list[Any]:
        """The numbers that a call returns, each as a decision, or all of them as one."""
        assert first.laws is not None
        if not first.joint:
            return [self._decide(dd.apply(lambda a, i=i: a.laws[i], asked)) for i in range(len(first.laws))]
        chosen = diagram_of(self._decide(dd.apply(lambda a: a.laws[0], asked)))
        assert first.shape is not None
        return [plain(dd.apply(lambda order, i=i: order[i], chosen)) for i in range(first.shape[0])]

    def _shuffled(self, target: Any, elements: list[Any]) -> None:
        if not isinstance(target, list):
            self._whereabouts.refuse(
                "a list that is the same one on every path", "a shuffle of one that a decision chose", "shuffle a copy"
            )
        target[:] = elements

    def _in_place(self, target: Drawn | torch.Tensor, result: Drawn) -> Drawn:
        if isinstance(target, Drawn):
            target.values[...] = result.values
            return target
        self._memory.rename(target, result)
        return result

    def _asked(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dd.Diagram:
        read = reading(function)
        assert read is not None

        def reads(*values: Any) -> Asked | None:
            given, named = pytree.tree_unflatten([at_hand(v) for v in values], spec)
            try:
                return read(self._numbers.of_law, *given, **named)
            except GeneratorGivenError:
                self._whereabouts.refuse(
                    "a draw from the global generator",
                    "one from a generator that was passed explicitly",
                    "leave the generator out; seeds are given to the exported file",
                )
            except (ValueError, TypeError, IndexError) as error:
                self._whereabouts.refuse(
                    "arguments of a random function", f"{type(error).__name__}: {error}", "mend them"
                )

        # what holds nothing that varies is handed on as it is: what is chosen among are the objects themselves
        flat, spec = pytree.tree_flatten((args, kwargs), is_leaf=lambda v: is_symbolic(v) or not varies(v))
        found = dd.apply(reads, *map(diagram_here, flat))
        kinds = {(a.laws is None or len(a.laws), a.shape) for a in dd.leaves(found)}
        if len(kinds) > 1:
            self._whereabouts.refuse(
                "as many numbers on every path", "calls that draw differently", "draw the same number of them"
            )
        return found

    def _decide(self, law: dd.Diagram) -> Any:
        """A new decision with this law."""
        laws: list[Law] = dd.leaves(law)
        if all(one.probabilities is None for one in laws):
            if len(laws) > 1:
                self._whereabouts.refuse(
                    "a uniform draw with fixed bounds", "bounds that depend on a decision", "compare with what depends"
                )
            number = self._add(dd.Leaf(Law(quantile=laws[0].quantile)))
            return UniformDraw(number, laws[0].scale, laws[0].offset, laws[0].quantile)
        counts = {len(one.values) for one in laws}
        if len(counts) > 1:
            self._whereabouts.refuse(
                "as many outcomes on every path", f"{sorted(counts)}", "give the others probability 0"
            )
        count = counts.pop()
        number = self._add(law)
        if count > 1:
            self._use_law(law)
        outcomes = [dd.apply(lambda one, k=k: one.values[k], law) for k in range(count)]
        route = dd.node(number, [float(k) for k in range(1, count)], [dd.Leaf(k) for k in range(count)])
        return plain(dd.choose(route, outcomes))

    def _add(self, law: dd.Diagram) -> int:
        return self._ledger.add(Decision("draw", self._whereabouts.line(), self._ledger.guard, law))

    def _use_law(self, law: dd.Diagram) -> None:
        """The decisions that a law depends on are asked."""
        parents = dd.decisions(law)
        if len(parents) > 1:
            lines = ", ".join(sorted(str(self._ledger.decisions[p].line) for p in parents))
            self._whereabouts.refuse(
                "probabilities that depend on one decision at most",
                f"some that depend on {len(parents)} ({lines})",
                "let the law depend on the last step only, as a Markov chain's does",
            )
        self._ledger.use(law)

    def compare_varying(self, draw: UniformDraw, number: Varying, below: bool) -> Any:
        """Returns whether a draw is below a number that depends on a decision (outcome 0), or not."""
        decision = self._ledger.decisions[draw.decision]
        bound = self._ledger.here(number.diagram)
        if isinstance(bound, dd.Leaf):
            return operate(operator.lt if below else operator.ge, draw, bound.value)
        if draw.decision in self._divided:
            return self._divide(draw, bound, below)
        if draw.decision in self._compared:
            raise ComparedAgainError(draw.decision)
        self._compared.add(draw.decision)
        share = dd.apply(lambda n: draw.position(float(n)), bound)
        if isinstance(share, dd.Leaf):  # numbers beyond the same end
            return operate(operator.lt if below else operator.ge, draw, dd.leaves(bound)[0])
        decision.falling = draw.scale < 0
        if decision.falling:
            share = dd.apply(lambda s: 1 - s, share)
        decision.law = dd.apply(lambda s: Law((s, 1 - s), (0, 1)), share)
        self._use_law(decision.law)
        return plain(dd.node(draw.decision, (1.0,), (dd.Leaf(below), dd.Leaf(not below))))

    def compares(self, draw: UniformDraw) -> None:
        """A draw is compared with a number that is the same on every path."""
        if draw.decision in self._divided:
            return
        if isinstance(self._ledger.decisions[draw.decision].law, dd.Node):
            raise ComparedAgainError(draw.decision)
        self._compared.add(draw.decision)

    def _divide(self, draw: UniformDraw, bound: dd.Diagram, below: bool) -> Any:
        """A comparison that cuts the draw's interval at every number that it may be compared with."""
        numbers = dd.leaves(bound)
        if len(numbers) > MOST_WAYS:
            self._whereabouts.refuse(
                f"a draw that is compared with at most {MOST_WAYS} numbers", f"{len(numbers)} of them", "draw anew"
            )
        cases = [draw.below(float(n)) for n in numbers]
        which = dd.apply(lambda n: next(i for i, m in enumerate(numbers) if dd.same(n, m)), bound)
        found = dd.choose(which, cases)
        return plain(found if below else dd.apply(operator.not_, found))
