"""Loops, whose turns may depend on decisions."""

from __future__ import annotations

import ast
from collections.abc import Callable

from rr_export.capture.python.bounds import MOST_TURNS, refuse_unbounded
from rr_export.capture.python.branching import Branching, Condition
from rr_export.capture.python.frames import BREAK, CONTINUE, NEXT, OUTWARD, Course, Loop, Stack
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.flow import Flow
from rr_export.capture.python.syntax.iterations import Iterations, nothing
from rr_export.capture.python.values import Varying
from rr_export.capture.python.whereabouts import Whereabouts


class Loops:
    """Runs loops.

    Args:
        evaluate: evaluates conditions, and what is looped over.
        iterations: turns over it.
        flow: runs the statements of a turn.
        stack: the functions that run.
        branching: runs a turn only where there is one.
        ledger: says whether a turn decided.
        whereabouts: where the code is.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        iterations: Iterations,
        flow: Flow,
        stack: Stack,
        branching: Branching,
        ledger: Ledger,
        whereabouts: Whereabouts,
    ) -> None:
        self._evaluate, self._iterations, self._flow, self._stack = evaluate, iterations, flow, stack
        self._branching, self._ledger, self._whereabouts = branching, ledger, whereabouts

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {
            ast.For: lambda node: self._run(self._iterations.course(node, self._evaluate(node.iter))),
            ast.While: lambda node: self._run(Course(node, lambda: (self._evaluate(node.test), nothing), endless=True)),
        }

    def _run(self, course: Course) -> None:
        loop = Loop(course, lambda: self._finish(loop), self._leave, len(self._ledger.decisions))
        with self._stack.top.inside(loop):
            self._turns(loop)
        self._leave()

    def _turns(self, loop: Loop) -> None:
        """Runs the turns of a loop that are left, and its else."""
        while True:
            loop.turns += len(self._ledger.decisions) > loop.decided
            if loop.course.endless and loop.turns > MOST_TURNS:
                refuse_unbounded(
                    self._whereabouts, "a loop", "count the turns in its condition, such as `while n < 8 and ...`"
                )
            there, bind = loop.course.turn()
            condition = self._branching.as_condition(there)
            if not isinstance(condition, bool):
                self._turn_maybe(loop, condition, bind)
                return
            if not condition:
                self._otherwise(loop)
                return
            bind()
            self._flow.block(loop.course.node.body)
            if self._ended(loop):
                return

    def _turn_maybe(self, loop: Loop, condition: Condition, bind: Callable[[], None]) -> None:
        """Runs the rest of a loop in the branch where it turns once more."""

        def arm(outcome: bool) -> None:
            if not outcome:
                self._otherwise(loop)
                return
            bind()
            self._flow.block(loop.course.node.body)
            if not self._ended(loop):
                self._turns(loop)

        with self._stack.top.sharing():
            self._branching.branch(condition, arm)

    def _ended(self, loop: Loop) -> bool:
        """After a turn: whether the loop is over; turns that only some branches still make are made here."""
        frame = self._stack.top
        flow = frame.flow
        if isinstance(flow, Varying):
            self._finish(loop)
            return True
        if flow in (NEXT, CONTINUE):
            frame.flow = NEXT
            return False
        if flow == BREAK:
            frame.flow = NEXT
        return True

    def _finish(self, loop: Loop) -> None:
        """Makes the turns that are left where the flow says so; then the loop is over everywhere."""
        frame = self._stack.top

        def go_on() -> None:
            frame.flow = NEXT
            with frame.inside(loop):
                self._turns(loop)

        self._flow.where((NEXT, CONTINUE), go_on)
        frame.replace_flow(BREAK, NEXT)

    def _otherwise(self, loop: Loop) -> None:
        """The loop's else, which belongs to the loop around it: so do its break and continue."""
        frame, statements = self._stack.top, loop.course.node.orelse
        if not statements:
            return
        assert frame.pending[-1] is loop
        frame.pending.pop()
        try:
            self._flow.block(statements)
        finally:
            frame.pending.append(loop)
        for flow, outward in OUTWARD.items():
            frame.replace_flow(flow, outward)

    def _leave(self) -> None:
        """The loop is over on every path: what its else said to the loop around it is said now."""
        for flow, outward in OUTWARD.items():
            self._stack.top.replace_flow(outward, flow)
