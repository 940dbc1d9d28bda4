"""Blocks of statements that something watches: ``with`` and ``try``."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Sequence
from typing import Any

from rr_export.capture.python.frames import NEXT, Stack
from rr_export.capture.python.heap import FLOW, MISSING, RESULT
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.flow import Flow
from rr_export.capture.python.syntax.tries import Tries, Try, catches_nothing
from rr_export.errors import CaptureError


class WatchedBlocks:
    """Runs ``with`` and ``try``; what follows the statement does not belong into their blocks.

    Args:
        evaluate: evaluates context managers, and the types of errors.
        assign: binds what a context manager gives.
        flow: runs the blocks.
        stack: the functions that run.
        ledger: says how many branches there are around here.
        tries: those that run.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        assign: Callable[[ast.expr, Any], None],
        flow: Flow,
        stack: Stack,
        ledger: Ledger,
        tries: Tries,
    ) -> None:
        self._evaluate, self._assign, self._flow, self._stack = evaluate, assign, flow, stack
        self._ledger, self._tries = ledger, tries

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {ast.With: lambda node: self._with(node.items, node.body), ast.Try: self._try}

    def _with(self, items: Sequence[ast.withitem], body: Sequence[ast.stmt]) -> None:
        if not items:
            self._block(body)
            return
        with self._evaluate(items[0].context_expr) as value:
            if items[0].optional_vars is not None:
                self._assign(items[0].optional_vars, value)
            with self._tries.running(self._new(catches_nothing)):
                self._with(items[1:], body)

    def _try(self, node: ast.Try) -> None:
        one = self._new(functools.partial(self._handler_of, node))
        try:
            try:
                with self._tries.running(one):
                    self._block(node.body)
            except CaptureError:
                raise
            except Exception as error:
                place = self._handler_of(node, error)
                if place is None:
                    raise
                self._handle(node.handlers[place], error)
            else:
                self._flow.where((NEXT,), lambda: self._flow.block(node.orelse))
                for flow, (place, raised) in one.caught.items():
                    self._flow.where((flow,), functools.partial(self._handle, node.handlers[place], raised))
        finally:
            if node.finalbody:
                self._finally(node.finalbody)

    def _finally(self, body: Sequence[ast.stmt]) -> None:
        """Runs the block whatever the flow, which is afterwards as it was where the block does not change it."""
        variables = self._stack.top.scope.variables
        flow, result = variables[FLOW], variables.get(RESULT, MISSING)
        variables[FLOW] = NEXT
        self._block(body)
        if variables[FLOW] == NEXT:
            variables[FLOW] = flow
            if result is not MISSING:
                variables[RESULT] = result

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        with self._stack.top.sharing():
            self._flow.block(statements)

    def _new(self, catches: Callable[[Exception], int | None]) -> Try:
        return Try(self._stack.top, self._ledger.depth, catches)

    def _handler_of(self, node: ast.Try, error: Exception) -> int | None:
        """The place of the handler that an error goes to."""
        return next((i for i, handler in enumerate(node.handlers) if self._catches(handler, error)), None)

    def _handle(self, handler: ast.ExceptHandler, error: Exception) -> None:
        top = self._stack.top
        top.flow = NEXT
        if handler.name:
            top.scope.variables[handler.name] = error
        with self._tries.handling(error):
            self._flow.block(handler.body)
        if handler.name:
            top.scope.variables.pop(handler.name, None)

    def _catches(self, handler: ast.ExceptHandler, error: Exception) -> bool:
        return handler.type is None or isinstance(error, self._evaluate(handler.type))
