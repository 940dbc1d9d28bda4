"""Expressions of which a part may be left out: ``and``, ``or``, ``a < b < c``, and ``a if b else c``."""

from __future__ import annotations

import ast
from typing import Any

import torch

from rr_export.capture.python.branching import Branching
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.operators import COMPARE
from rr_export.capture.python.values import settled


class ShortCircuits:
    """Evaluates expressions that evaluate only what Python would.

    Args:
        evaluate: evaluates the expressions inside.
        branching: evaluates a part only where a condition holds.
        operations: compares.
        memory: reads what the branches gave.
    """

    def __init__(self, evaluate: Dispatch, branching: Branching, operations: Operations, memory: Memory) -> None:
        self._evaluate, self._branching, self._operations, self._memory = evaluate, branching, operations, memory

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {ast.Compare: self._compare, ast.BoolOp: self._bool_op, ast.IfExp: self._if}

    def _compare(self, node: ast.Compare) -> Any:
        return self._chain(self._evaluate(node.left), list(zip(node.ops, node.comparators, strict=True)))

    def _chain(self, left: Any, rest: list[tuple[ast.cmpop, ast.expr]]) -> Any:
        """``a < b < c``: the next comparison is made only where those before it hold."""
        (op, right_node), *others = rest
        right = self._evaluate(right_node)
        found = self._operations.compare(COMPARE[type(op)], left, right)
        if not others:
            return found
        condition = self._branching.as_condition(found)
        if isinstance(condition, bool):
            return self._chain(right, others) if condition else found
        return self._memory.read(
            self._branching.branch(condition, lambda holds: self._whole(right, others) if holds else False)
        )

    def _whole(self, left: Any, rest: list[tuple[ast.cmpop, ast.expr]]) -> Any:
        found = self._chain(left, rest)
        return self._branching.holds(found) if isinstance(found, torch.Tensor) else found

    def _bool_op(self, node: ast.BoolOp) -> Any:
        return self._bool(node.values, isinstance(node.op, ast.And))

    def _bool(self, nodes: list[ast.expr], wanted: bool) -> Any:
        """``a and b`` (wanted) or ``a or b``: the rest is evaluated only where the first is as wanted."""
        first = self._evaluate(nodes[0])
        if len(nodes) == 1:
            return first
        condition = self._branching.as_condition(first)
        if isinstance(condition, bool):
            return self._bool(nodes[1:], wanted) if condition is wanted else first

        def arm(outcome: bool) -> Any:
            if outcome is not wanted:
                here = settled(first)
                return not wanted if isinstance(here, torch.Tensor) else here
            value = self._bool(nodes[1:], wanted)
            is_condition = isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.numel() == 1
            return self._branching.holds(value) if is_condition else value

        return self._memory.read(self._branching.branch(condition, arm))

    def _if(self, node: ast.IfExp) -> Any:
        condition = self._branching.as_condition(self._evaluate(node.test))
        if isinstance(condition, bool):
            return self._evaluate(node.body if condition else node.orelse)
        return self._memory.read(
            self._branching.branch(condition, lambda outcome: self._evaluate(node.body if outcome else node.orelse))
        )
