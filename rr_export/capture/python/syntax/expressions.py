"""How the interpreter evaluates expressions: names, literals, operators, and parts of values."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rr_export.capture.python.arithmetic import call_plain, operate
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.heap import MISSING
from rr_export.capture.python.lifting import Lifter
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.scalars import compute, has_scalars, is_scalar
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.operators import BINARY, UNARY
from rr_export.capture.python.values import Varying, is_symbolic, leaves_of


class Expressions:
    """Evaluates expressions in which nothing is left out.

    Args:
        evaluate: evaluates the expressions inside.
        stack: whose names there are.
        memory: what is read.
        operations: what is done with values.
        lifter: formats what varies.
    """

    def __init__(
        self, evaluate: Dispatch, stack: Stack, memory: Memory, operations: Operations, lifter: Lifter
    ) -> None:
        self._evaluate, self._stack, self._memory = evaluate, stack, memory
        self._operations, self._lifter = operations, lifter

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {
            ast.Constant: lambda node: node.value,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.Slice: self._slice,
            ast.Tuple: lambda node: tuple(evaluated(self._evaluate, node.elts)),
            ast.List: lambda node: evaluated(self._evaluate, node.elts),
            ast.Set: lambda node: self._operations.set_of(evaluated(self._evaluate, node.elts)),
            ast.Dict: self._dict,
            ast.JoinedStr: self._joined,
            ast.FormattedValue: self._formatted,
            ast.UnaryOp: self._unary,
            ast.BinOp: self._binary,
        }

    def _name(self, node: ast.Name) -> Any:
        name, frame = node.id, self._stack.top
        owner = frame.owner(name)
        if owner is not None:
            value = owner.scope.variables.get(name, MISSING)
            if value is MISSING:
                raise UnboundLocalError(
                    f"cannot access local variable {name!r} where it is not associated with a value"
                )
            return self._memory.read(value)
        if name in frame.cells:
            return self._memory.read(frame.cells[name].cell_contents)
        if name in frame.space:
            self._memory.reads(self._memory.global_of(frame), name)
            return self._memory.read(frame.space[name])
        try:
            return getattr(builtins, name)
        except AttributeError:
            raise NameError(f"name {name!r} is not defined") from None

    def _attribute(self, node: ast.Attribute) -> Any:
        return self._operations.attribute(self._evaluate(node.value), node.attr)

    def _subscript(self, node: ast.Subscript) -> Any:
        owner, key = self._evaluate(node.value), self._evaluate(node.slice)
        return self._memory.read(self._operations.item(owner, key))

    def _slice(self, node: ast.Slice) -> slice:
        return slice(*(None if part is None else self._evaluate(part) for part in (node.lower, node.upper, node.step)))

    def _dict(self, node: ast.Dict) -> Any:
        pairs: list[tuple[Any, Any]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                pairs.extend(self._evaluate(value).items())
            else:
                pairs.append((self._evaluate(key), self._evaluate(value)))
        keys, values = [key for key, _ in pairs], [value for _, value in pairs]
        if any(map(is_symbolic, keys)):
            return call_plain(lambda *given: dict(zip(given, values, strict=True)), *keys)
        return dict(pairs)

    def _joined(self, node: ast.JoinedStr) -> Any:
        parts = [self._evaluate(part) for part in node.values]
        if any(isinstance(p, Varying) for p in parts):
            return self._lifter.lift(lambda *values: "".join(map(str, values)), tuple(parts), {})
        return self._operations.shown(parts, "".join(parts))

    def _formatted(self, node: ast.FormattedValue) -> Any:
        value = self._evaluate(node.value)
        spec = "" if node.format_spec is None else self._evaluate(node.format_spec)
        converters: dict[int, Callable[[Any], Any]] = {115: str, 114: repr, 97: ascii}
        convert = converters.get(node.conversion, lambda v: v)
        if isinstance(value, Varying):
            if has_scalars(value):
                self._lifter.number(next(filter(is_scalar, leaves_of(value))), "a text")
            return self._lifter.lift(lambda v: format(convert(v), spec), (value,), {})
        if isinstance(value, torch.Tensor) and spec:
            value = self._lifter.number(value, "a text")
        return self._operations.shown([value], format(convert(value), spec))

    def _unary(self, node: ast.UnaryOp) -> Any:
        value = self._evaluate(node.operand)
        if isinstance(node.op, ast.Not):
            return self._operations.negated(value)
        function = UNARY[type(node.op)]
        return operate(function, value) if is_symbolic(value) else compute(function, value)

    def _binary(self, node: ast.BinOp) -> Any:
        return self._operations.binary(BINARY[type(node.op)], self._evaluate(node.left), self._evaluate(node.right))


def evaluated(evaluate: Dispatch, nodes: Sequence[ast.expr]) -> list[Any]:
    """Returns the values of expressions, of which some may be starred."""
    found: list[Any] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            found.extend(evaluate(node.value))
        else:
            found.append(evaluate(node))
    return found
