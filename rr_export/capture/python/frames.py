"""The functions that are being interpreted, and how each goes on.

How a function goes on is one more of its names, ``<flow>``: next, continue, break or return. So a decision that returns
on one side only needs nothing special: the flow varies after it, and what follows runs where it is ``next``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Line
from rr_export.capture.python.heap import FLOW, RESULT, Scope
from rr_export.capture.python.source_code import Source
from rr_export.capture.python.values import Varying, plain, settled

_LINE = "__rr_line__"  # where an error came from, written on it
NEXT, CONTINUE, BREAK, RETURN = "next", "continue", "break", "return"
# what a loop's else says to the loop around it, while the loop itself is not over on every path
OUTWARD = {CONTINUE: "outer continue", BREAK: "outer break"}


@dataclass
class Block:
    """Statements of which one is running."""

    statements: Sequence[ast.stmt]
    position: int = 0

    def rest(self) -> Sequence[ast.stmt]:
        """Returns the statements after the one that is running."""
        return self.statements[self.position + 1 :]


@dataclass(frozen=True)
class Course:
    """How a loop turns.

    Attributes:
        node: the statement.
        turn: prepares the next turn; returns whether there is one, which may vary, and what binds the target where
            there is.
        endless: whether nothing but decisions need end it.
    """

    node: ast.For | ast.While
    turn: Callable[[], tuple[Any, Callable[[], None]]]
    endless: bool = False


@dataclass
class Loop:
    """A loop that is running.

    Attributes:
        course: how it turns.
        finish: makes the turns that are left where the flow says so; then the loop is over everywhere.
        leave: what its else said to the loop around it is said now.
        decided: how many decisions were made before it.
        turns: how many there were since it made one.
    """

    course: Course
    finish: Callable[[], None]
    leave: Callable[[], None]
    decided: int
    turns: int = 0


@dataclass
class Frame:
    """A function that is being run, or a comprehension in it.

    Attributes:
        source: its source; of a comprehension, with the names that it binds.
        scope: its names.
        parent: the frame of the interpreted function around it.
        cells: variables of functions around it that are not interpreted.
        space: the globals.
        node: what is being evaluated.
        outer: under which decisions it was called.
        pending: the blocks and loops that are being run, outermost first.
        shared: how many branches around here are such that others go on too after they join.
        innermost: of the joins that lie ahead of branches that were run on inside another one, that furthest in.
        yielded: what it has yielded, each with whether it is there.
    """

    source: Source
    scope: Scope
    parent: Frame | None
    cells: dict[str, Any]
    space: dict[str, Any]
    node: ast.AST
    outer: dd.Diagram = dd.TRUE
    pending: list[Block | Loop] = field(default_factory=list)
    shared: int = 0
    innermost: int = -1
    yielded: list[tuple[Any, Any]] = field(default_factory=list)

    def owner(self, name: str) -> Frame | None:
        """Returns the interpreted frame whose name this is."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.source.outer:
                return None
            if name in frame.source.own:
                return frame
            frame = frame.parent
        return None

    @property
    def flow(self) -> Any:
        """How the function goes on; it may vary."""
        return settled(self.scope.variables[FLOW])

    @flow.setter
    def flow(self, value: Any) -> None:
        self.scope.variables[FLOW] = value

    def replace_flow(self, old: str, new: str) -> None:
        """Where the flow is ``old``, it is ``new``."""

        def replaced(flow: str) -> str:
            return new if flow == old else flow

        flow = self.flow
        self.flow = plain(dd.apply(replaced, flow.diagram)) if isinstance(flow, Varying) else replaced(flow)

    def end(self, result: Any = None) -> None:
        """The function returns."""
        self.scope.variables.update({RESULT: result, FLOW: RETURN})

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Inside, other branches go on too after the next join."""
        self.shared += 1
        try:
            yield
        finally:
            self.shared -= 1

    @contextmanager
    def inside(self, part: Block | Loop) -> Iterator[None]:
        """The block or loop is being run."""
        self.pending.append(part)
        depth = len(self.pending)
        try:
            yield
        finally:
            del self.pending[depth - 1 :]


def line_noted(error: BaseException) -> Line | None:
    """Returns the line of interpreted code that an error came through first, if any."""
    found: Line | None = vars(error).get(_LINE)
    return found


class Stack:
    """The functions that are being run, outermost first."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    @property
    def top(self) -> Frame:
        """The function that runs now."""
        return self.frames[-1]

    @contextmanager
    def running(self, frame: Frame) -> Iterator[None]:
        """Inside, this function runs."""
        self.frames.append(frame)
        try:
            yield
        except Exception as error:
            if line_noted(error) is None:
                vars(error)[_LINE] = Line(frame.source.file, getattr(frame.node, "lineno", 0))
            raise
        finally:
            self.frames.pop()

    def names(self, outer: bool) -> dict[str, Any]:
        """Returns what ``globals()`` or ``locals()`` gives in the function that runs."""
        if outer:
            return self.top.space
        return {k: v for k, v in self.top.scope.variables.items() if not k.startswith("<")}
