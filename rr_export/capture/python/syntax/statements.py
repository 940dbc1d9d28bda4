"""The statements that neither bind nor decide how control flows on."""

from __future__ import annotations

import ast
import logging
from typing import Any

import torch

from rr_export.capture.python.branching import Branching
from rr_export.capture.python.effects import Effects
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.syntax.assignments import Assignments
from rr_export.capture.python.syntax.closures import Closures
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.values import Caller, Varying
from rr_export.capture.python.whereabouts import Whereabouts

logger = logging.getLogger(__name__)


class Statements:
    """Executes definitions, imports, assertions, and what raises.

    Args:
        evaluate: evaluates the expressions inside.
        stack: the functions that run.
        assignments: binds names.
        closures: makes functions.
        branching: says what an assertion depends on.
        effects: refuses what must not be raised.
        whereabouts: where the code is.
        call: calls decorators.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        stack: Stack,
        assignments: Assignments,
        closures: Closures,
        branching: Branching,
        effects: Effects,
        whereabouts: Whereabouts,
        call: Caller,
    ) -> None:
        self._evaluate, self._stack, self._assignments, self._closures = evaluate, stack, assignments, closures
        self._branching, self._effects, self._whereabouts, self._call = branching, effects, whereabouts, call

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {
            **dict.fromkeys((ast.Pass, ast.Global, ast.Nonlocal), lambda node: None),
            ast.Expr: lambda node: self._evaluate(node.value),
            ast.FunctionDef: self._define,
            ast.Raise: self._raise,
            ast.Assert: self._assert,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
        }

    def _define(self, node: ast.FunctionDef) -> None:
        made: Any = self._closures.make(node)
        for decorator in reversed(node.decorator_list):
            made = self._call(self._evaluate(decorator), (made,), {})
        self._assignments.bind(node.name, made)

    def _raise(self, node: ast.Raise) -> None:
        error = self._evaluate(node.exc) if node.exc is not None else RuntimeError("raise")
        self._effects.check_raise(error)
        raise error from (self._evaluate(node.cause) if node.cause is not None else None)

    def _assert(self, node: ast.Assert) -> None:
        condition = self._branching.as_condition(self._evaluate(node.test))
        if isinstance(condition, torch.Tensor):  # where the model returns at all, it holds
            line = self._whereabouts.line()
            logger.info("%s: the exported file does not check what this asserts of the input", line)
            return
        if isinstance(condition, Varying):
            self._whereabouts.refuse("an assertion that does not depend on decisions", "one that does", "remove it")
        if not condition:
            raise AssertionError(self._evaluate(node.msg) if node.msg is not None else "")

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
