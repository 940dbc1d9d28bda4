"""How control flows on after a decision.

Where just one side of a decision goes on and nothing else shares what follows, that is run inside the branch, so that a
skip or an early exit is one ``If``.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Sequence

from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.branching import Branching, Condition
from rr_export.capture.python.frames import BREAK, CONTINUE, NEXT, RETURN, Block, Loop, Stack
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.endings import ends, may_go_on
from rr_export.capture.python.values import Varying


class Flow:
    """Runs blocks of statements, ``if``, and what ends a block.

    Args:
        evaluate: evaluates conditions and what is returned.
        execute: executes one statement.
        stack: the functions that run.
        branching: runs both sides of a condition.
        settle: what a statement changed is changed under all of its names.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        execute: Dispatch,
        stack: Stack,
        branching: Branching,
        settle: Callable[[], None],
    ) -> None:
        self._evaluate, self._execute, self._stack = evaluate, execute, stack
        self._branching, self._settle = branching, settle

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {ast.If: self._if, ast.Break: self._break, ast.Continue: self._continue, ast.Return: self._return}

    def where(self, wanted: Sequence[str], go_on: Callable[[], None]) -> None:
        """Runs ``go_on`` where the flow is one of the wanted; elsewhere nothing happens."""
        frame = self._stack.top
        flow = frame.flow
        if not isinstance(flow, Varying):
            if flow in wanted:
                go_on()
            return
        holds = call_plain(lambda f: f in wanted, flow)
        with frame.sharing():
            self._branching.branch(self._branching.as_condition(holds), lambda outcome: go_on() if outcome else None)

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Runs statements until the flow is not ``next``."""
        frame, here = self._stack.top, Block(statements)
        with frame.inside(here):
            while here.position < len(statements):
                self._execute(statements[here.position])
                self._settle()
                rest, flow = here.rest(), frame.flow
                here.position += 1
                if isinstance(flow, Varying):
                    if rest:
                        self.where((NEXT,), functools.partial(self.block, rest))
                    return
                if flow != NEXT:
                    return

    def function(self, body: Sequence[ast.stmt]) -> None:
        """Runs the statements of a function; then it returns everywhere."""
        self.block(body)
        self.where((NEXT,), self._stack.top.end)

    def _if(self, node: ast.If) -> None:
        condition = self._branching.as_condition(self._evaluate(node.test))
        if isinstance(condition, bool):
            self.block(node.body if condition else node.orelse)
            return
        frame = self._stack.top
        sides = {True: node.body, False: node.orelse}
        stops = {outcome: not may_go_on(side) for outcome, side in sides.items()}
        if stops[True] != stops[False] and not frame.shared:
            kinds = ends(sides[stops[True]])
            end = kinds.pop() if len(kinds) == 1 else None
            if end is not None and self._join_of(end) >= frame.innermost:
                self._absorb(condition, sides, stops[True], end)
                return
        with frame.sharing():
            self._branching.branch(condition, lambda outcome: self.block(sides[outcome]))

    def _join_of(self, end: str) -> int:
        """Where branches meet again of which one ends so: more for what lies further in, -1 for the function's end."""
        if end == RETURN:
            return -1
        loop = max(i for i, one in enumerate(self._stack.top.pending) if isinstance(one, Loop))
        return 2 * loop + (end == CONTINUE)

    def _absorb(self, condition: Condition, sides: dict[bool, list[ast.stmt]], ending: bool, end: str) -> None:
        """Runs what follows inside the only side that goes on, up to where the other one ended."""
        frame = self._stack.top
        pending, join = list(frame.pending), self._join_of(end)

        def arm(outcome: bool) -> None:
            if outcome is ending:
                with frame.sharing():
                    self.block(sides[outcome])
                return
            outer, frame.innermost = frame.innermost, join
            try:
                self.block(sides[outcome])
                self._follow(pending, end)
            finally:
                frame.innermost = outer

        self._branching.branch(condition, arm)

    def _follow(self, pending: Sequence[Block | Loop], end: str) -> None:
        """Runs what follows in the pending blocks and loops, from the innermost out, up to ``end``."""
        frame = self._stack.top
        outer = frame.pending
        try:
            for depth in reversed(range(len(pending))):
                here, frame.pending = pending[depth], list(pending[:depth])
                if isinstance(here, Block):
                    self.where((NEXT,), functools.partial(self.block, here.rest()))
                    continue
                if end != CONTINUE:
                    here.finish()
                if end != RETURN:
                    frame.replace_flow(NEXT, end)
                    return
                here.leave()
            self.where((NEXT,), frame.end)
        finally:
            frame.pending = outer

    def _break(self, node: ast.Break) -> None:
        self._stack.top.flow = BREAK

    def _continue(self, node: ast.Continue) -> None:
        self._stack.top.flow = CONTINUE

    def _return(self, node: ast.Return) -> None:
        self._stack.top.end(None if node.value is None else self._evaluate(node.value))
