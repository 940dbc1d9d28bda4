"""How a ``for`` loop turns over a sequence, which may vary."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable
from typing import Any

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.frames import Course, Stack
from rr_export.capture.python.heap import MISSING
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.syntax.dispatch import Forms
from rr_export.capture.python.values import Sifted, Varying, plain, settled

THERE = "<there>"
Assign = Callable[[ast.expr, Any], None]  # binds a target to a value


class There(ast.expr):
    """Whether the element of this turn of a loop is there."""


class Iterations:
    """Turns over sequences.

    Args:
        assign: binds the target of a loop.
        stack: the functions that run.
        memory: reads the elements.
        operations: takes the elements of what varies.
        sequences: what is looped over.
    """

    def __init__(
        self, assign: Assign, stack: Stack, memory: Memory, operations: Operations, sequences: Sequences
    ) -> None:
        self._assign, self._stack, self._memory = assign, stack, memory
        self._operations, self._sequences = operations, sequences

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {There: lambda node: self._memory.read(self._stack.top.scope.variables[THERE])}

    def course(self, node: ast.For, iterable: Any) -> Course:
        """Returns how a loop turns over this."""
        iterable = self._sequences.iterated(iterable)
        if isinstance(iterable, Sifted):
            return self._over_sifted(node, iterable)
        if isinstance(iterable, Varying):
            return self._over_varying(node, iterable)
        return self._over_plain(node, iterable)

    def _over_plain(self, node: ast.For, iterable: Iterable[Any]) -> Course:
        items = iter(iterable)

        def turn() -> tuple[bool, Callable[[], None]]:
            item = next(items, MISSING)
            if item is MISSING:
                return False, nothing
            return True, functools.partial(self._assign, node.target, self._memory.read(item))

        return Course(node, turn, endless=not hasattr(iterable, "__len__"))

    def _over_sifted(self, node: ast.For, sequence: Sifted) -> Course:
        """Every turn asks first whether its element is there."""
        items = iter(sequence.elements)
        guarded = ast.For(node.target, node.iter, [ast.If(There(), node.body, [])], node.orelse)
        for part in (guarded, guarded.body[0], guarded.body[0].test):  # type: ignore[attr-defined]
            ast.copy_location(part, node)

        def turn() -> tuple[bool, Callable[[], None]]:
            there, value = next(items, (None, MISSING))
            if value is MISSING:
                return False, nothing
            self._stack.top.scope.variables[THERE] = there
            return True, functools.partial(self._assign, node.target, value)

        return Course(guarded, turn)

    def _over_varying(self, node: ast.For, iterable: Varying) -> Course:
        """The n-th turn is there where the sequence is longer than n."""
        sequences = plain(dd.apply(tuple, iterable.diagram))
        count = 0

        def turn() -> tuple[Any, Callable[[], None]]:
            nonlocal count
            number, count = count, count + 1
            there = settled(call_plain(lambda s: len(s) > number, sequences))
            return there, lambda: self._assign(node.target, self._operations.item(settled(sequences), number))

        return Course(node, turn)


def nothing() -> None:
    """Binds nothing."""
