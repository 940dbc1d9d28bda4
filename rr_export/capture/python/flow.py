"""How control flows on after a decision: branches and loops.

How a function goes on is one more of its names, ``<flow>``: next, continue, break or return. So a decision that returns
on one side only needs nothing special: the flow varies after it, and what follows runs where it is ``next``. Where just
one side goes on and nothing else shares what follows, that is run inside the branch, so that a skip or an early exit is
one ``If``.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain
from rr_export.capture.python.heap import MISSING
from rr_export.capture.python.joining import FLOW, RESULT
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.values import Sifted, Varying, plain, settled

NEXT, CONTINUE, BREAK, RETURN = "next", "continue", "break", "return"
THERE = "<there>"
MOST_TURNS = 64  # a while loop that decides may turn so often


class There(ast.expr):
    """Whether the element of this turn of a loop is there."""


@dataclass
class Block:
    """Statements of which one is running."""

    statements: Sequence[ast.stmt]
    position: int


@dataclass
class Loop:
    """A loop that is running.

    Attributes:
        node: the statement.
        turn: prepares the next turn, and returns whether there is one; it may vary.
        endless: whether nothing but decisions need end it.
        decided: how many decisions were made before it.
        turns: how many there were since it made one.
    """

    node: ast.For | ast.While
    turn: Callable[[], Any]
    endless: bool = False
    decided: int = 0
    turns: int = 0


class Flow(Sequences):
    """Runs branches and loops."""

    def _fall_off(self) -> None:
        self.frame.scope.variables.update({RESULT: None, FLOW: RETURN})

    @property
    def flow(self) -> Any:
        """How the current function goes on."""
        return settled(self.frame.scope.variables[FLOW])

    @flow.setter
    def flow(self, value: Any) -> None:
        self.frame.scope.variables[FLOW] = value

    def where_flow(self, wanted: str | tuple[str, ...], go_on: Callable[[], None]) -> None:
        """Runs ``go_on`` where the flow is as wanted; elsewhere nothing happens."""
        flow, among = self.flow, (wanted,) if isinstance(wanted, str) else wanted
        if not isinstance(flow, Varying):
            if flow in among:
                go_on()
            return
        holds = call_plain(lambda f: f in among, flow)
        with self.sharing():
            self.branch(self.as_condition(holds), lambda outcome: go_on() if outcome else None)

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Inside, other branches go on too after the next join."""
        frame = self.frame
        frame.shared += 1
        try:
            yield
        finally:
            frame.shared -= 1

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Runs statements until the flow is not ``next``."""
        here = Block(statements, 0)
        with self._inside(here):
            self._run_block(here)

    @contextmanager
    def _inside(self, part: Block | Loop) -> Iterator[None]:
        """The block or loop is being run."""
        self.frame.pending.append(part)
        depth = len(self.frame.pending)
        try:
            yield
        finally:
            del self.frame.pending[depth - 1 :]

    def _run_block(self, block: Block) -> None:
        while block.position < len(block.statements):
            self.execute(block.statements[block.position])
            block.position += 1
            flow = self.flow
            if isinstance(flow, Varying):
                rest = block.statements[block.position :]
                if rest:
                    self.where_flow(NEXT, functools.partial(self.block, rest))
                return
            if flow != NEXT:
                return

    def execute(self, node: ast.stmt) -> None:
        """Runs one statement."""
        outer, self.frame.node = self.frame.node, node
        try:
            getattr(self, f"_exec_{type(node).__name__}")(node)
        finally:
            self.frame.node = outer

    def _exec_If(self, node: ast.If) -> None:
        condition = self.as_condition(self.eval(node.test))
        if isinstance(condition, bool):
            self.block(node.body if condition else node.orelse)
            return
        sides = {True: node.body, False: node.orelse}
        ends = {outcome: not _may_go_on(side) for outcome, side in sides.items()}
        if ends[True] != ends[False] and not self.frame.shared:
            kinds = _ends(sides[ends[True]])
            end = kinds.pop() if len(kinds) == 1 else None
            if end is not None and self._join_of(end) >= self.frame.innermost:
                self._absorb(condition, sides, ends[True], end)
                return
        with self.sharing():
            self.branch(condition, lambda outcome: self.block(sides[outcome]))

    def _join_of(self, end: str) -> int:
        """Where branches meet again of which one ends so: more for what lies further in, -1 for the function's end."""
        if end == RETURN:
            return -1
        loop = max(i for i, one in enumerate(self.frame.pending) if isinstance(one, Loop))
        return 2 * loop + (end == CONTINUE)

    def _absorb(self, condition: Any, sides: dict[bool, list[ast.stmt]], ending: bool, end: str) -> None:
        """Runs what follows inside the only side that goes on, up to where the other one ended."""
        frame, pending, join = self.frame, list(self.frame.pending), self._join_of(end)

        def arm(outcome: bool) -> None:
            if outcome is ending:
                with self.sharing():
                    self.block(sides[outcome])
                return
            outer, frame.innermost = frame.innermost, join
            try:
                self.block(sides[outcome])
                self._follow(pending, end)
            finally:
                frame.innermost = outer

        self.branch(condition, arm)

    def _follow(self, pending: list[Any], end: str) -> None:
        """Runs what follows in the pending blocks and loops, from the innermost out, up to ``end``."""
        frame = self.frame
        outer = frame.pending
        try:
            for depth in reversed(range(len(pending))):
                here, frame.pending = pending[depth], pending[:depth]
                if isinstance(here, Block):
                    rest = here.statements[here.position + 1 :]
                    self.where_flow(NEXT, functools.partial(self.block, rest))
                    continue
                if end != CONTINUE:
                    self._after_turn(here)
                if end != RETURN:
                    self._replace_flow(NEXT, end)
                    return
            self.where_flow(NEXT, self._fall_off)
        finally:
            frame.pending = outer

    def _replace_flow(self, old: str, new: str) -> None:
        flow = self.flow
        replaced = functools.partial(_replaced, old, new)
        self.flow = plain(dd.apply(replaced, flow.diagram)) if isinstance(flow, Varying) else replaced(flow)

    def _exec_For(self, node: ast.For) -> None:
        iterable = self.iterated(self.eval(node.iter))
        if isinstance(iterable, Sifted):
            self._sifted_loop(node, iterable)
            return
        if isinstance(iterable, Varying):
            self._loop(Loop(node, self._varying_turn(node, iterable)))
            return
        items = iter(iterable)

        def turn() -> bool:
            item = next(items, MISSING)
            if item is MISSING:
                return False
            self.assign(node.target, self.read(item))
            return True

        self._loop(Loop(node, turn, endless=not hasattr(iterable, "__len__")))

    def _sifted_loop(self, node: ast.For, sequence: Sifted) -> None:
        """A loop in which every turn asks first whether its element is there."""
        items = iter(sequence.items)
        guarded = ast.For(node.target, node.iter, [ast.If(There(), node.body, [])], node.orelse)
        for part in (guarded, guarded.body[0], guarded.body[0].test):  # type: ignore[attr-defined]
            ast.copy_location(part, node)

        def turn() -> bool:
            item = next(items, None)
            if item is None:
                return False
            self.frame.scope.variables[THERE] = item[0]
            self.assign(node.target, item[1])
            return True

        self._loop(Loop(guarded, turn))

    def _eval_There(self, node: There) -> Any:
        return self.read(self.frame.scope.variables[THERE])

    def _varying_turn(self, node: ast.For, iterable: Varying) -> Callable[[], Any]:
        """The turns over a sequence that varies: the n-th one is there where it is longer than n."""
        sequences = plain(dd.apply(tuple, iterable.diagram))
        count = 0

        def turn() -> Any:
            nonlocal count
            number, count = count, count + 1
            there = settled(call_plain(lambda s: len(s) > number, sequences))

            def bind(outcome: bool) -> bool:
                if outcome:
                    self.assign(node.target, self.item(settled(sequences), number))
                return outcome

            return bind(there) if isinstance(there, bool) else (there, bind)

        return turn

    def _exec_While(self, node: ast.While) -> None:
        self._loop(Loop(node, lambda: self.eval(node.test), endless=True))

    def _loop(self, loop: Loop) -> None:
        loop.decided = len(self.decisions)
        with self._inside(loop):
            self._turns(loop)

    def _turns(self, loop: Loop) -> None:
        """Runs the turns of a loop that are left, and its else."""
        while True:
            loop.turns += len(self.decisions) > loop.decided
            if loop.endless and loop.turns > MOST_TURNS:
                self._unbounded("a loop", "count the turns in its condition, such as `while n < 8 and ...`")
            there = loop.turn()
            bind = None
            if isinstance(there, tuple):
                there, bind = there
            condition = self.as_condition(there)
            if not isinstance(condition, bool):
                self._turn_maybe(loop, condition, bind)
                return
            if not condition:
                self._otherwise(loop)
                return
            self.block(loop.node.body)
            if self._ended(loop):
                return

    def _unbounded(self, what: str, do: str) -> NoReturn:
        self.refuse(
            f"{what} with a bound of at most {MOST_TURNS} turns",
            "one whose end depends on decisions alone: it is unbounded",
            f"{do}, or use for and break",
        )

    def _turn_maybe(self, loop: Loop, condition: Any, bind: Callable[[bool], Any] | None) -> None:
        """Runs the rest of a loop in the branch where it turns once more."""

        def arm(outcome: bool) -> None:
            if not outcome:
                self._otherwise(loop)
                return
            if bind is not None:
                bind(True)
            self.block(loop.node.body)
            if not self._ended(loop):
                self._turns(loop)

        with self.sharing():
            self.branch(condition, arm)

    def _ended(self, loop: Loop) -> bool:
        """After a turn: whether the loop is over; turns that only some branches still make are made here."""
        flow = self.flow
        if isinstance(flow, Varying):
            self._after_turn(loop)
            return True
        if flow in (NEXT, CONTINUE):
            self.flow = NEXT
            return False
        if flow == BREAK:
            self.flow = NEXT
        return True

    def _after_turn(self, loop: Loop) -> None:
        """Makes the turns that are left where the flow says so; then the loop is over everywhere."""

        def go_on() -> None:
            self.flow = NEXT
            with self._inside(loop):
                self._turns(loop)

        self.where_flow((NEXT, CONTINUE), go_on)
        self._replace_flow(BREAK, NEXT)

    def _otherwise(self, loop: Loop) -> None:
        """The loop's else."""
        if loop.node.orelse:
            self.block(loop.node.orelse)

    def _exec_Break(self, node: ast.Break) -> None:
        self.flow = BREAK

    def _exec_Continue(self, node: ast.Continue) -> None:
        self.flow = CONTINUE

    def _exec_Return(self, node: ast.Return) -> None:
        value = None if node.value is None else self.eval(node.value)
        self.frame.scope.variables.update({RESULT: value, FLOW: RETURN})

    def _exec_Match(self, node: ast.Match) -> None:
        """Cases of values, names and alternatives, as a chain of conditions."""
        subject = self.eval(node.subject)
        self._cases(subject, list(node.cases))

    def _cases(self, subject: Any, cases: list[ast.match_case]) -> None:
        if not cases:
            return
        first, *rest = cases
        condition = self.as_condition(self._matches(first.pattern, subject))

        def arm(outcome: bool) -> None:
            if outcome and first.guard is not None:
                guard = self.as_condition(self.eval(first.guard))
                self.branch(guard, lambda holds: self.block(first.body) if holds else self._cases(subject, rest))
            elif outcome:
                self.block(first.body)
            else:
                self._cases(subject, rest)

        if isinstance(condition, bool):
            arm(condition)
            return
        with self.sharing():
            self.branch(condition, arm)

    def _matches(self, pattern: ast.pattern, subject: Any) -> Any:
        if isinstance(pattern, ast.MatchValue):
            return self.binary(operator.eq, subject, self.eval(pattern.value))
        if isinstance(pattern, ast.MatchSingleton):
            return (
                call_plain(operator.is_, subject, pattern.value)
                if isinstance(subject, Varying)
                else (subject is pattern.value)
            )
        if isinstance(pattern, ast.MatchOr):
            found: Any = False
            for one in pattern.patterns:
                matched = self._matches(one, subject)
                found = call_plain(operator.or_, found, matched)
            return found
        assert isinstance(pattern, ast.MatchAs)
        matched = True if pattern.pattern is None else self._matches(pattern.pattern, subject)
        if pattern.name is not None:
            self.frame.scope.variables[pattern.name] = subject
        return matched


def _may_go_on(statements: Sequence[ast.stmt]) -> bool:
    """Whether the statement after these may run."""
    for statement in statements:
        if isinstance(statement, ast.Return | ast.Break | ast.Continue | ast.Raise):
            return False
        if isinstance(statement, ast.If) and not (_may_go_on(statement.body) or _may_go_on(statement.orelse)):
            return False
        if isinstance(statement, ast.With) and not _may_go_on(statement.body):
            return False
    return True


def _ends(statements: Sequence[ast.stmt]) -> set[str]:
    """How statements that do not go on may end: return, break, continue."""
    names = {ast.Return: RETURN, ast.Break: BREAK, ast.Continue: CONTINUE}
    return {names[type(n)] for s in statements for n in _of_this_loop(s) if type(n) in names}


def _replaced(old: str, new: str, flow: str) -> str:
    return new if flow == old else flow


def _of_this_loop(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.For | ast.While):
            yield from (n for n in ast.walk(child) if isinstance(n, ast.Return))
            continue
        yield from _of_this_loop(child)
