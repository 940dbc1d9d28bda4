"""Definitions, imports, and expressions for their own sake."""

from __future__ import annotations

import ast
from typing import Any

from rr_export.capture.python.frames import Stack
from rr_export.capture.python.syntax.assignments import Assignments
from rr_export.capture.python.syntax.closures import Closures
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.values import Caller


class Statements:
    """Executes the statements around which nothing flows.

    Args:
        evaluate: evaluates the expressions inside.
        stack: the functions that run.
        assignments: binds names.
        closures: makes functions.
        call: calls decorators.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        stack: Stack,
        assignments: Assignments,
        closures: Closures,
        call: Caller,
    ) -> None:
        self._evaluate, self._stack, self._assignments = evaluate, stack, assignments
        self._closures, self._call = closures, call

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {
            **dict.fromkeys((ast.Pass, ast.Global, ast.Nonlocal), lambda node: None),
            ast.Expr: lambda node: self._evaluate(node.value),
            ast.FunctionDef: self._define,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
        }

    def _define(self, node: ast.FunctionDef) -> None:
        made: Any = self._closures.make(node)
        for decorator in reversed(node.decorator_list):
            made = self._call(self._evaluate(decorator), (made,), {})
        self._assignments.bind(node.name, made)

    def _import(self, node: ast.Import) -> None:
        for name in node.names:
            module = __import__(name.name)
            if name.asname:
                for part in name.name.split(".")[1:]:
                    module = getattr(module, part)
            self._assignments.bind((name.asname or name.name).partition(".")[0], module)

    def _import_from(self, node: ast.ImportFrom) -> None:
        names = [a.name for a in node.names]
        module = __import__(node.module or "", self._stack.top.space, None, names, node.level)
        for alias in node.names:
            self._assignments.bind(alias.asname or alias.name, getattr(module, alias.name))
