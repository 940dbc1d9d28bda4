"""Comprehensions, generators and lists, in which elements may be there on some paths only."""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.expressions import Expressions, Frame
from rr_export.capture.python.heap import Scope
from rr_export.capture.python.source_code import Source, wants_interpreter
from rr_export.capture.python.values import Sifted, Uniform, Varying, is_plain, plain, settled


class Sequences(Expressions):
    """Makes sequences, and loops over them."""

    def _eval_Yield(self, node: ast.Yield) -> None:
        value = None if node.value is None else self.eval(node.value)
        there = plain(dd.given(self.guard, self.frame.outer))
        if there is not True and not is_plain(value):
            self.refuse_elements(value)
        self.frame.yielded.append((there, value))

    def call_sifted(self, owner: Sifted, name: str, args: list[Any]) -> Any:
        """Returns what a method of a sequence gives whose length varies."""
        if owner.origin is None or name not in ("append", "extend"):
            self.refuse(
                "a list whose length is the same on every path",
                f"one whose length varies, used by .{name}()",
                "append to it, loop over it, or ask its length or an element",
            )
        for value in args if name == "append" else args[0]:
            owner.append(value)

    def _eval_ListComp(self, node: ast.ListComp) -> Any:
        return self._comprehended(node, lambda: self.eval(node.elt), list)

    def _eval_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        return self._comprehended(node, lambda: self.eval(node.elt), iter)

    def _eval_SetComp(self, node: ast.SetComp) -> Any:
        return self._comprehended(node, lambda: self.eval(node.elt), set)

    def _eval_DictComp(self, node: ast.DictComp) -> Any:
        return self._comprehended(node, lambda: (self.eval(node.key), self.eval(node.value)), dict)

    def _eval_Call(self, node: ast.Call) -> Any:
        """``any`` and ``all`` of a generator stop where it is decided, so that the rest is not drawn."""
        name = node.func.id if isinstance(node.func, ast.Name) and self.frame.owner(node.func.id) is None else ""
        argument = node.args[0] if name in ("any", "all") and len(node.args) == 1 else None
        if isinstance(argument, ast.GeneratorExp) and len(argument.generators) == 1 and not argument.generators[0].ifs:
            return self._until(argument, name == "any")
        return super()._eval_Call(node)

    def _until(self, node: ast.GeneratorExp, stop: bool) -> Any:
        """Whether an element is ``stop``."""
        items = [item for _, item in self.elements(self.eval(node.generators[0].iter))]
        with self._inner_scope(node):
            found = self._is_any(node, stop, items)
        return settled(found) if stop else self.negated(settled(found))

    def _is_any(self, node: ast.GeneratorExp, stop: bool, items: list[Any]) -> Any:
        if not items:
            return False
        self.assign(node.generators[0].target, items[0])
        holds = self.as_condition(self.holds(self.eval(node.elt)))
        return self.branch(holds, lambda outcome: True if outcome is stop else self._is_any(node, stop, items[1:]))

    def _comprehended(self, node: Any, element: Callable[[], Any], make: Callable[[list[Any]], Any]) -> Any:
        """The elements, with the names of the comprehension bound in a scope of their own."""
        found: list[tuple[Any, Any]] = []
        with self._inner_scope(node):
            self._generate(node.generators, element, found, True)
        if all(there is True for there, _ in found):
            return make([value for _, value in found])
        if make is list or make is iter:
            return Sifted(found)
        return call_plain(make, Sifted(found).whole())

    @contextmanager
    def _inner_scope(self, node: Any) -> Iterator[None]:
        """Inside, the names of a comprehension are bound in a scope of their own."""
        names = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        outer = self.frame
        source = Source(outer.source.node, outer.source.file, frozenset(names))
        self.push(Frame(source, Scope({}, outer.scope.function), outer, outer.cells, outer.space, node))
        try:
            yield
        finally:
            self.pop()

    def _generate(
        self, generators: list[ast.comprehension], element: Callable[[], Any], found: list[tuple[Any, Any]], there: Any
    ) -> None:
        """Adds the elements, each with whether it is there."""
        if not generators:
            self._add_element(element, found, there)
            return
        first, *rest = generators
        for held, item in self.elements(self.eval(first.iter)):
            self.assign(first.target, item)
            kept = self._all_of([there, held], first.ifs)
            if kept is not False:
                self._generate(rest, element, found, kept)

    def _all_of(self, held: list[Any], tests: list[ast.expr]) -> Any:
        """Whether all of these hold, and then all tests, each evaluated where those before it hold."""
        kept: Any = True
        for one in held:
            kept = one if kept is True else self.logical_and(kept, one)
        for test in tests:
            if kept is False:
                return False
            kept = settled(self.branch(kept, functools.partial(self._tested, test)))
        return kept

    def _tested(self, test: ast.expr, outcome: bool) -> Any:
        return self.holds(self.eval(test)) if outcome else False

    def _add_element(self, element: Callable[[], Any], found: list[tuple[Any, Any]], there: Any) -> None:
        if there is True:
            found.append((True, element()))
            return
        value: Any = None

        def arm(outcome: bool) -> None:
            nonlocal value
            if outcome:
                value = element()

        self.branch(there, arm)
        if not is_plain(value):
            self.refuse_elements(value)
        found.append((there, value))

    def refuse_elements(self, value: Any) -> NoReturn:
        """Raises: a decision filters values that are computed."""
        self.refuse(
            "a list whose length is the same on every path",
            f"one of {type(value).__name__} elements that a decision filters",
            "write a loop that skips the element with continue",
        )

    def elements(self, iterable: Any) -> Iterator[tuple[Any, Any]]:
        """Yields what to loop over, each element with whether it is there."""
        value = settled(self.iterated(iterable))
        if isinstance(value, Sifted):
            yield from value.items
        elif isinstance(value, Varying | Uniform):
            self.refuse(
                "a list whose length is the same on every path", "one that varies", "write a loop with break instead"
            )
        else:
            yield from ((True, self.read(item)) for item in value)

    def iterated(self, iterable: Any) -> Any:
        """Returns what an object's own ``__iter__`` gives, where that may decide."""
        method = getattr(type(iterable), "__iter__", None)
        if isinstance(method, types.FunctionType) and wants_interpreter(method):
            return self.call(method, (iterable,), {})
        return iterable
