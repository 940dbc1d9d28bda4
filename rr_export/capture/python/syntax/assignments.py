"""How the interpreter binds names, attributes and entries, and deletes them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import torch

from rr_export.capture.python.effects import Effects
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.scalars import is_scalar
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms
from rr_export.capture.python.syntax.operators import BINARY, IN_PLACE
from rr_export.capture.python.values import Drawn, Sifted, Varying, is_symbolic, varies


class Assignments:
    """Binds targets to values.

    Args:
        evaluate: evaluates values, and the parts of targets.
        stack: whose names are bound.
        memory: what is written and read.
        operations: operators of ``+=`` and the like, and entries of what is unpacked.
        sequences: has the methods of sequences whose length varies.
        effects: refuses what must not be set.
        settle: what was set under one name is set under all.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        stack: Stack,
        memory: Memory,
        operations: Operations,
        sequences: Sequences,
        effects: Effects,
        settle: Callable[[], None],
    ) -> None:
        self._evaluate, self._stack, self._memory = evaluate, stack, memory
        self._operations, self._sequences, self._effects = operations, sequences, effects
        self._settle = settle

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {ast.NamedExpr: self._named}

    def statements(self) -> Forms:
        """Returns the statements that are known here."""
        return {
            ast.Assign: self._assign_all,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.Delete: self._delete,
        }

    def assign(self, target: ast.expr, value: Any) -> None:
        """Binds a target."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            owner = self._evaluate(target.value)
            self._effects.check_attribute(owner, target.attr)
            self._operations.set_attribute(owner, target.attr, value)
            self._settle()
        elif isinstance(target, ast.Subscript):
            owner, key = self._evaluate(target.value), self._evaluate(target.slice)
            self._set_entry(owner, key.item() if isinstance(key, Drawn) else key, value)
            self._settle()
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value)
        else:
            assert isinstance(target, ast.Starred)
            self.assign(target.value, value)

    def _set_entry(self, owner: Any, key: Any, value: Any) -> None:
        """Sets an entry; where its key varies, in a branch for each."""
        if isinstance(key, Varying) and isinstance(owner, list | dict | Drawn):
            self._operations.for_each(key, lambda one: owner.__setitem__(one, value))
            return
        self._effects.check_entry(owner, key)
        self._operations.set_item(owner, key, value)

    def bind(self, name: str, value: Any) -> None:
        """Binds a name."""
        frame = self._stack.top
        owner = frame.owner(name)
        if owner is not None:
            owner.scope.variables[name] = value
        elif name in frame.cells:
            frame.cells[name].cell_contents = value
        else:
            self._effects.check_global(name)
            self._memory.writes(self._memory.global_of(frame), name)
            frame.space[name] = value

    def _unpack(self, target: ast.Tuple | ast.List, value: Any) -> None:
        if isinstance(value, Varying):
            count = len(target.elts)
            value = [self._operations.item(value, i) for i in range(count)]
        items = list(value)
        stars = [i for i, t in enumerate(target.elts) if isinstance(t, ast.Starred)]
        if stars:
            first, last = stars[0], len(target.elts) - stars[0] - 1
            items = [*items[:first], items[first : len(items) - last], *items[len(items) - last :]]
        if len(items) != len(target.elts):
            raise ValueError(f"expected {len(target.elts)} values to unpack, got {len(items)}")
        for one, item in zip(target.elts, items, strict=True):
            self.assign(one, self._memory.read(item))

    def _named(self, node: ast.NamedExpr) -> Any:
        value = self._evaluate(node.value)
        self.assign(node.target, value)
        return value

    def _assign_all(self, node: ast.Assign) -> None:
        value = self._evaluate(node.value)
        for target in node.targets:
            self.assign(target, value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self._evaluate(node.value))

    def _augmented(self, node: ast.AugAssign) -> None:
        load = ast.copy_location(_loading(node.target), node.target)
        left, right = self._evaluate(load), self._evaluate(node.value)
        kind = type(node.op)
        if isinstance(left, Sifted) and kind is ast.Mult:
            self._memory.change(left, "*=", _repeat, (right,))
            return
        if isinstance(left, Sifted) and kind is ast.Add:
            self._sequences.call_method(left, "extend", [right], {})
            return
        if isinstance(left, list | dict):
            self.assign(node.target, self._changed_in_place(kind, left, right))
            return
        if varies((left, right)) or is_scalar(left):
            self.assign(node.target, self._operations.binary(BINARY[kind], left, right))
            return
        if not isinstance(left, torch.Tensor) or not self._effects.forbids_in_place(left):
            self.assign(node.target, self._operations.binary(IN_PLACE[kind], left, right))
            return
        result = BINARY[kind](left, right)
        if result.shape != left.shape or result.dtype != left.dtype:
            result = result.expand_as(left).to(left.dtype)
        self.assign(node.target, result)

    def _changed_in_place(self, kind: type[ast.operator], left: Any, right: Any) -> Any:
        """The same list or dictionary, whatever varies in it."""
        if kind is ast.Add and type(left) is list:
            self._sequences.extend(left, right)
            return left
        if is_symbolic(right):
            self._memory.refuse_varying_length("an operator that changes it")
        return IN_PLACE[kind](left, right)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                frame = self._stack.top
                holder = frame.owner(target.id)
                if holder is None:
                    self._effects.check_global(target.id)
                (frame.space if holder is None else holder.scope.variables).pop(target.id)
            elif isinstance(target, ast.Attribute):
                owner = self._evaluate(target.value)
                self._effects.check_attribute(owner, target.attr)
                self._operations.delete_attribute(owner, target.attr)
            elif isinstance(target, ast.Subscript):
                owner, key = self._evaluate(target.value), self._evaluate(target.slice)
                self._effects.check_entry(owner, key)
                self._operations.delete_item(owner, key)


def _repeat(values: list[Any], times: int) -> None:
    values *= times


def _loading(target: ast.expr) -> Any:
    """The target of an assignment, as an expression that is read."""
    copied = ast.parse(ast.unparse(target), mode="eval").body
    for inner in ast.walk(copied):
        ast.copy_location(inner, target)
    return copied
