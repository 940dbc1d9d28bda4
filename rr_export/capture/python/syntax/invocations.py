"""How the interpreter evaluates a call: what is called, and with what."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from torch import nn

from rr_export.capture.python.calls import NativeCalls
from rr_export.capture.python.frames import Frame, Stack
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.syntax.comprehensions import Comprehensions
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.expressions import evaluated
from rr_export.capture.python.values import Caller, Sifted, Varying


class Invocations:
    """Evaluates calls.

    Args:
        evaluate: evaluates the expressions inside.
        comprehensions: evaluates ``any`` and ``all`` of a generator.
        stack: the functions that run.
        memory: reads what a call gave.
        operations: finds methods.
        sequences: has the methods of sequences whose length varies.
        natives: calls the methods of what varies.
        call: calls everything else.
        settle: what a call changed is changed under all of its names.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        comprehensions: Comprehensions,
        stack: Stack,
        memory: Memory,
        operations: Operations,
        sequences: Sequences,
        natives: NativeCalls,
        call: Caller,
        settle: Callable[[], None],
    ) -> None:
        self._evaluate, self._comprehensions, self._stack = evaluate, comprehensions, stack
        self._memory, self._operations, self._sequences = memory, operations, sequences
        self._natives, self._call, self._settle = natives, call, settle

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {ast.Call: self._call_and_settle}

    def _call_and_settle(self, node: ast.Call) -> Any:
        found = self._invoke(node)
        self._settle()
        return found

    def _invoke(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) and self._stack.top.owner(node.func.id) is None else ""
        argument = node.args[0] if name in ("any", "all") and len(node.args) == 1 else None
        if isinstance(argument, ast.GeneratorExp) and len(argument.generators) == 1 and not argument.generators[0].ifs:
            return self._comprehensions.until(argument, name == "any")
        if name == "next" and isinstance(node.args[0], ast.GeneratorExp) and len(node.args[0].generators) == 1:
            return self._comprehensions.first(node.args[0], node.args[1:])
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return self._super()
        if isinstance(node.func, ast.Attribute):
            return self._invoke_method(node, self._evaluate(node.func.value), node.func.attr)
        function = self._evaluate(node.func)
        if function is nn.Sequential and self._is_starred(node):
            return self._sequential(node)
        return self._memory.read(self._call(function, *self._arguments(node)))

    def _invoke_method(self, node: ast.Call, owner: Any, name: str) -> Any:
        if isinstance(owner, Sifted):
            return self._memory.read(self._sequences.call_method(owner, name, *self._arguments(node)))
        if isinstance(owner, Varying):
            return self._memory.read(self._natives.call_method(owner, name, *self._arguments(node)))
        function = self._operations.attribute(owner, name)
        if function is nn.Sequential and self._is_starred(node):
            return self._sequential(node)
        return self._memory.read(self._call(function, *self._arguments(node)))

    def _is_starred(self, node: ast.Call) -> bool:
        return len(node.args) == 1 and isinstance(node.args[0], ast.Starred)

    def _sequential(self, node: ast.Call) -> Any:
        """``nn.Sequential(*layers)``."""
        starred = node.args[0]
        assert isinstance(starred, ast.Starred)
        layers = self._evaluate(starred.value)
        return self._sequences.chained(layers) if isinstance(layers, Sifted) else nn.Sequential(*layers)

    def _arguments(self, node: ast.Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args = evaluated(self._evaluate, node.args)
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                kwargs.update(self._evaluate(keyword.value))
            else:
                kwargs[keyword.arg] = self._evaluate(keyword.value)
        return tuple(args), kwargs

    def _super(self) -> Any:
        frame: Frame | None = self._stack.top
        while frame is not None and "__class__" not in frame.cells:
            frame = frame.parent
        assert frame is not None
        first = frame.source.node.args.args[0].arg
        return super(frame.cells["__class__"].cell_contents, frame.scope.variables[first])
