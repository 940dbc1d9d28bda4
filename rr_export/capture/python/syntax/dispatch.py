"""Which part of the interpreter knows what to do with a node of a syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from rr_export.capture.python.frames import Stack

Forms = Mapping[type[ast.AST], Callable[[Any], Any]]  # what to do with the nodes of a kind


class Dispatch:
    """Evaluates expressions, or executes statements, by the kind of their node.

    The parts that know the kinds need this one to get at the nodes inside theirs, so it learns them after it is made.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._forms: dict[type[ast.AST], Callable[[Any], Any]] = {}

    def learn(self, *parts: Forms) -> None:
        """From now on these kinds of nodes are known."""
        for forms in parts:
            self._forms.update(forms)

    def __call__(self, node: ast.AST) -> Any:
        """Returns what the node gives; meanwhile the code is there."""
        frame = self._stack.top
        outer, frame.node = frame.node, node
        form = self._forms.get(type(node))
        if form is None:
            raise NotImplementedError(f"{type(node).__name__} is not interpreted")
        found = form(node)
        frame.node = outer  # an exception leaves the code where it was raised
        return found
