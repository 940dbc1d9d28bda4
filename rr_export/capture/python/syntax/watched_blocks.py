"""Blocks of statements that something watches: ``with`` and ``try``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from rr_export.capture.python.frames import NEXT, Stack
from rr_export.capture.python.heap import FLOW, MISSING, RESULT
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.flow import Flow
from rr_export.errors import CaptureError


class WatchedBlocks:
    """Runs ``with`` and ``try``; what follows the statement does not belong into their blocks.

    Args:
        evaluate: evaluates context managers, and the types of errors.
        assign: binds what a context manager gives.
        flow: runs the blocks.
        stack: the functions that run.
    """

    def __init__(self, evaluate: Dispatch, assign: Callable[[ast.expr, Any], None], flow: Flow, stack: Stack) -> None:
        self._evaluate, self._assign, self._flow, self._stack = evaluate, assign, flow, stack

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
            self._with(items[1:], body)

    def _try(self, node: ast.Try) -> None:
        try:
            try:
                self._block(node.body)
            except CaptureError:
                raise
            except Exception as error:
                handler = next((h for h in node.handlers if self._catches(h, error)), None)
                if handler is None:
                    raise
                if handler.name:
                    self._stack.top.scope.variables[handler.name] = error
                self._flow.block(handler.body)
            else:
                self._flow.where((NEXT,), lambda: self._flow.block(node.orelse))
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

    def _catches(self, handler: ast.ExceptHandler, error: Exception) -> bool:
        return handler.type is None or isinstance(error, self._evaluate(handler.type))
