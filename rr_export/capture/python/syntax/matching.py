"""``match``: cases of values, names and alternatives, as a chain of conditions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Sequence
from typing import Any

from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.flow import Flow


class Matching:
    """Runs ``match``.

    Args:
        evaluate: evaluates the subject, and the values of patterns.
        flow: runs the statements of a case.
        stack: the functions that run.
        branching: tries a case only where those before it do not match.
        operations: compares.
    """

    def __init__(
        self, evaluate: Dispatch, flow: Flow, stack: Stack, branching: Branching, operations: Operations
    ) -> None:
        self._evaluate, self._flow, self._stack = evaluate, flow, stack
        self._branching, self._operations = branching, operations

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {ast.Match: lambda node: self._cases(self._evaluate(node.subject), node.cases)}

    def _cases(self, subject: Any, cases: Sequence[ast.match_case]) -> None:
        if not cases:
            return
        first, *rest = cases
        condition = self._branching.as_condition(self._matches(first.pattern, subject))

        def arm(outcome: bool) -> None:
            if outcome and first.guard is not None:
                guard = self._branching.as_condition(self._evaluate(first.guard))
                self._branching.branch(
                    guard, lambda holds: self._flow.block(first.body) if holds else self._cases(subject, rest)
                )
            elif outcome:
                self._flow.block(first.body)
            else:
                self._cases(subject, rest)

        if isinstance(condition, bool):
            arm(condition)
            return
        with self._stack.top.sharing():
            self._branching.branch(condition, arm)

    def _matches(self, pattern: ast.pattern, subject: Any) -> Any:
        if isinstance(pattern, ast.MatchValue):
            return self._operations.binary(operator.eq, subject, self._evaluate(pattern.value))
        if isinstance(pattern, ast.MatchSingleton):
            return self._operations.compare(operator.is_, subject, pattern.value)
        if isinstance(pattern, ast.MatchOr):
            found: Any = False
            for one in pattern.patterns:
                matched = self._matches(one, subject)
                found = call_plain(operator.or_, found, matched)
            return found
        assert isinstance(pattern, ast.MatchAs)
        matched = True if pattern.pattern is None else self._matches(pattern.pattern, subject)
        if pattern.name is not None:
            self._stack.top.scope.variables[pattern.name] = subject
        return matched
