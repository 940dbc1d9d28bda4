"""``raise`` and ``assert``."""

from __future__ import annotations

import ast
import logging

import torch

from rr_export.capture.python.branching import Branching
from rr_export.capture.python.effects import Effects
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.tries import Tries
from rr_export.capture.python.values import Varying
from rr_export.capture.python.whereabouts import Whereabouts

logger = logging.getLogger(__name__)


class Failures:
    """Executes what may fail.

    Args:
        evaluate: evaluates errors and conditions.
        branching: says what an assertion depends on.
        effects: refuses what must not be raised.
        stack: the functions that run.
        ledger: says how many branches there are around here.
        tries: what catches an error.
        whereabouts: where the code is.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        branching: Branching,
        effects: Effects,
        stack: Stack,
        ledger: Ledger,
        tries: Tries,
        whereabouts: Whereabouts,
    ) -> None:
        self._evaluate, self._branching, self._effects, self._whereabouts = evaluate, branching, effects, whereabouts
        self._stack, self._ledger, self._tries = stack, ledger, tries

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {ast.Raise: self._raise, ast.Assert: self._assert}

    def _raise(self, node: ast.Raise) -> None:
        again = self._tries.handled or RuntimeError("No active exception to reraise")
        error = again if node.exc is None else self._evaluate(node.exc)
        try:
            flow = self._tries.flow_of(error, self._stack.top, self._ledger.depth)
        except LookupError:
            self._effects.refuse_raise(error)
        if flow is not None:
            self._stack.top.flow = flow
            return
        if node.exc is None:
            raise error
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
