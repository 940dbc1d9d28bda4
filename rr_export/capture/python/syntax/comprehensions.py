"""Comprehensions and generators, whose elements may be there on some paths only."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.cursors import Cursor
from rr_export.capture.python.frames import Frame, Stack
from rr_export.capture.python.heap import Scope
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.ragged import Element, is_readable
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.source_code import Source
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.values import Sifted, plain, settled


class Comprehensions:
    """Evaluates comprehensions, and ``yield``.

    Args:
        evaluate: evaluates the expressions inside.
        assign: binds a target.
        stack: the functions that run.
        ledger: says on which paths something is yielded.
        branching: evaluates an element only where it is there.
        memory: has the lists whose length varies.
        operations: joins conditions.
        sequences: what is looped over.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        assign: Callable[[ast.expr, Any], None],
        stack: Stack,
        ledger: Ledger,
        branching: Branching,
        memory: Memory,
        operations: Operations,
        sequences: Sequences,
    ) -> None:
        self._evaluate, self._assign, self._stack, self._ledger = evaluate, assign, stack, ledger
        self._branching, self._memory, self._operations, self._sequences = branching, memory, operations, sequences

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {
            ast.ListComp: lambda node: self._comprehended(node, lambda: self._evaluate(node.elt), list),
            ast.GeneratorExp: lambda node: self._comprehended(node, lambda: self._evaluate(node.elt), Cursor),
            ast.SetComp: lambda node: self._comprehended(node, lambda: self._evaluate(node.elt), set),
            ast.DictComp: lambda node: self._comprehended(
                node, lambda: (self._evaluate(node.key), self._evaluate(node.value)), dict
            ),
            ast.Yield: self._yield,
        }

    def _yield(self, node: ast.Yield) -> None:
        value = None if node.value is None else self._evaluate(node.value)
        frame = self._stack.top
        there = plain(self._ledger.here_since(frame.outer))
        self._sequences.check_element(there, value)
        frame.yielded.append((there, value))

    def until(self, node: ast.GeneratorExp, stop: bool) -> Any:
        """Returns whether an element is ``stop`` (``any``), or none is (``all``); what comes after it is not drawn."""
        items = [item for _, item in self._sequences.elements(self._evaluate(node.generators[0].iter))]
        with self._scope_of(node):
            found = self._is_any(node, stop, items)
        return settled(found) if stop else self._operations.negated(settled(found))

    def _is_any(self, node: ast.GeneratorExp, stop: bool, items: list[Any]) -> Any:
        if not items:
            return False
        self._assign(node.generators[0].target, items[0])
        holds = self._branching.as_condition(self._branching.holds(self._evaluate(node.elt)))
        return self._branching.branch(
            holds, lambda outcome: True if outcome is stop else self._is_any(node, stop, items[1:])
        )

    def first(self, node: ast.GeneratorExp, default: list[ast.expr]) -> Any:
        """Returns the first element, or else the default; what comes after it is not drawn."""
        items = list(self._sequences.elements(self._evaluate(node.generators[0].iter)))
        others = [self._evaluate(one) for one in default]
        with self._scope_of(node):
            return self._memory.read(self._first(node, items, others))

    def _first(self, node: ast.GeneratorExp, items: list[Any], default: list[Any]) -> Any:
        if not items:
            return next(iter(default))
        (held, item), *rest = items
        self._assign(node.generators[0].target, item)
        return self._branching.branch(
            self._branching.as_condition(self._all_of([held], node.generators[0].ifs)),
            lambda outcome: self._evaluate(node.elt) if outcome else self._first(node, rest, default),
        )

    def _comprehended(self, node: Any, element: Callable[[], Any], make: Callable[[list[Any]], Any]) -> Any:
        """The elements, with the names of the comprehension bound in a scope of their own."""
        found: list[Element] = []
        with self._scope_of(node):
            self._generate(node.generators, element, found, True)
        if all(there is True for there, _ in found):
            return make([value for _, value in found])
        if make is list and is_readable(found):
            return self._memory.read(self._memory.hold(found))
        if make is list or make is Cursor:
            return Sifted(found)
        return call_plain(make, Sifted(found).whole())

    @contextmanager
    def _scope_of(self, node: Any) -> Iterator[None]:
        """Inside, the names of a comprehension are bound in a scope of their own."""
        names = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        outer = self._stack.top
        source = Source(outer.source.node, outer.source.file, frozenset(names))
        scope = Scope({}, outer.scope.function)
        with self._stack.running(Frame(source, scope, outer, outer.cells, outer.space, node)):
            yield

    def _generate(
        self, generators: list[ast.comprehension], element: Callable[[], Any], found: list[Element], there: Any
    ) -> None:
        """Adds the elements, each with whether it is there."""
        if not generators:
            self._add_element(element, found, there)
            return
        first, *rest = generators
        for held, item in self._sequences.elements(self._evaluate(first.iter)):
            self._assign(first.target, item)
            kept = self._all_of([there, held], first.ifs)
            if kept is not False:
                self._generate(rest, element, found, kept)

    def _all_of(self, held: list[Any], tests: list[ast.expr]) -> Any:
        """Whether all of these hold, and then all tests, each evaluated where those before it hold."""
        kept: Any = True
        for one in held:
            kept = one if kept is True else self._operations.logical_and(kept, one)
        for test in tests:
            if kept is False:
                return False
            kept = settled(self._branching.branch(kept, functools.partial(self._tested, test)))
        return kept

    def _tested(self, test: ast.expr, outcome: bool) -> Any:
        return self._branching.holds(self._evaluate(test)) if outcome else False

    def _add_element(self, element: Callable[[], Any], found: list[Element], there: Any) -> None:
        if there is True:
            found.append((True, element()))
            return
        value: Any = None

        def arm(outcome: bool) -> None:
            nonlocal value
            if outcome:
                value = element()

        self._branching.branch(there, arm)
        self._sequences.check_element(there, value)
        found.append((there, value))
