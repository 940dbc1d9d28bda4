"""The statements that do not decide how control flows on."""

from __future__ import annotations

import ast
import logging
import operator
from typing import Any

import torch

from rr_export.capture.python.expressions import BINARY, IN_PLACE
from rr_export.capture.python.flow import NEXT, Flow
from rr_export.capture.python.heap import MISSING
from rr_export.capture.python.joining import FLOW, RESULT
from rr_export.capture.python.values import Sifted, Varying
from rr_export.errors import CaptureError

logger = logging.getLogger(__name__)


class Statements(Flow):
    """Runs every other statement."""

    def _exec_Pass(self, node: ast.Pass) -> None:
        pass

    def _exec_Global(self, node: ast.Global) -> None:
        pass

    def _exec_Nonlocal(self, node: ast.Nonlocal) -> None:
        pass

    def _exec_Expr(self, node: ast.Expr) -> None:
        self.eval(node.value)

    def _exec_Assign(self, node: ast.Assign) -> None:
        value = self.eval(node.value)
        for target in node.targets:
            self.assign(target, value)

    def _exec_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.eval(node.value))

    def _exec_AugAssign(self, node: ast.AugAssign) -> None:
        load = ast.copy_location(_loading(node.target), node.target)
        left, right = self.eval(load), self.eval(node.value)
        kind = type(node.op)
        if isinstance(left, Sifted):
            self.call_sifted(left, "extend", [right])
            return
        if self.varies((left, right)) or not isinstance(left, torch.Tensor) or not self.depth:
            function = BINARY[kind] if self.varies((left, right)) else IN_PLACE[kind]
            self.assign(node.target, self.binary(function, left, right))
            return
        self._refuse_shared(left)
        result = BINARY[kind](left, right)
        if result.shape != left.shape or result.dtype != left.dtype:
            result = result.expand_as(left).to(left.dtype)
        self.assign(node.target, result)

    def _refuse_shared(self, tensor: torch.Tensor) -> None:
        """Raises if something else may see an in-place change of a tensor that is made in a branch."""
        memory = tensor.untyped_storage()._cdata
        others = [t for t in (*self.inputs, *self.root.parameters(), *self.root.buffers())]
        for frame in self.stack:
            others += [v for v in frame.scope.variables.values() if isinstance(v, torch.Tensor) and v is not tensor]
        names = sum(v is tensor for f in self.stack for v in f.scope.variables.values())
        if names > 1 or any(t.untyped_storage()._cdata == memory for t in others):
            self.refuse(
                "branches that change nothing in place",
                "an in-place change of a value that is also used elsewhere, such as an input",
                "write x = x + y instead of x += y",
            )

    def assign(self, target: ast.expr, value: Any) -> None:
        """Binds a target."""
        if isinstance(target, ast.Name):
            self._bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            owner = self.eval(target.value)
            self.state.writes(owner, target.attr)
            setattr(owner, target.attr, value)
        elif isinstance(target, ast.Subscript):
            owner, key = self.eval(target.value), self.eval(target.slice)
            if isinstance(owner, torch.Tensor) and self.depth:
                self.refuse("branches that change nothing in place", "an assignment into a tensor", "use torch.where")
            if self.varies(key):
                self.refuse("an entry that is the same on every path", "one that varies", "assign in branches")
            owner[key] = value
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value)
        else:
            assert isinstance(target, ast.Starred)
            self.assign(target.value, value)

    def _unpack(self, target: ast.Tuple | ast.List, value: Any) -> None:
        if isinstance(value, Varying):
            count = len(target.elts)
            value = [self.lift(operator.getitem, (value, i), {}) for i in range(count)]
        items = list(value)
        stars = [i for i, t in enumerate(target.elts) if isinstance(t, ast.Starred)]
        if stars:
            first, last = stars[0], len(target.elts) - stars[0] - 1
            items = [*items[:first], items[first : len(items) - last], *items[len(items) - last :]]
        if len(items) != len(target.elts):
            raise ValueError(f"expected {len(target.elts)} values to unpack, got {len(items)}")
        for one, item in zip(target.elts, items, strict=True):
            self.assign(one, self.read(item))

    def _bind(self, name: str, value: Any) -> None:
        owner = self.frame.owner(name)
        if owner is not None:
            owner.scope.variables[name] = value
        elif name in self.frame.cells:
            self.frame.cells[name].cell_contents = value
        else:
            if self.depth:
                self.refuse(
                    "branches that only compute",
                    f"a side effect that would be lost: the global {name!r} is set",
                    "return the value, or keep it in an attribute that every branch sets",
                )
            self.frame.space[name] = value

    def _exec_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                owner = self.frame.owner(target.id)
                (self.frame.space if owner is None else owner.scope.variables).pop(target.id)
            elif isinstance(target, ast.Attribute):
                delattr(self.eval(target.value), target.attr)
            elif isinstance(target, ast.Subscript):
                del self.eval(target.value)[self.eval(target.slice)]

    def _exec_FunctionDef(self, node: ast.FunctionDef) -> None:
        made: Any = self.closure(node)
        for decorator in reversed(node.decorator_list):
            made = self.call(self.eval(decorator), (made,), {})
        self._bind(node.name, made)

    def _exec_With(self, node: ast.With) -> None:
        self._with(list(node.items), node.body)

    def _with(self, items: list[ast.withitem], body: list[ast.stmt]) -> None:
        if not items:
            with self.sharing():  # what follows the statement does not belong in it
                self.block(body)
            return
        with self.eval(items[0].context_expr) as value:
            if items[0].optional_vars is not None:
                self.assign(items[0].optional_vars, value)
            self._with(items[1:], body)

    def _exec_Try(self, node: ast.Try) -> None:
        try:
            try:
                with self.sharing():
                    self.block(node.body)
            except CaptureError:
                raise
            except Exception as error:
                handler = next((h for h in node.handlers if self._catches(h, error)), None)
                if handler is None:
                    raise
                if handler.name:
                    self.frame.scope.variables[handler.name] = error
                self.block(handler.body)
            else:
                self.where_flow(NEXT, lambda: self.block(node.orelse))
        finally:
            if node.finalbody:
                variables = self.frame.scope.variables
                flow, result = variables[FLOW], variables.get(RESULT, MISSING)
                variables[FLOW] = NEXT
                with self.sharing():
                    self.block(node.finalbody)
                if variables[FLOW] == NEXT:
                    variables[FLOW] = flow
                    if result is not MISSING:
                        variables[RESULT] = result

    def _catches(self, handler: ast.ExceptHandler, error: Exception) -> bool:
        return handler.type is None or isinstance(error, self.eval(handler.type))

    def _exec_Raise(self, node: ast.Raise) -> None:
        error = self.eval(node.exc) if node.exc is not None else RuntimeError("raise")
        if self.depth:
            self.refuse(
                "branches that compute",
                f"one that raises {getattr(error, '__name__', type(error).__name__)}: a side effect that would be lost",
                "a graph cannot raise: remove it, or check before exporting",
            )
        raise error from (self.eval(node.cause) if node.cause is not None else None)

    def _exec_Assert(self, node: ast.Assert) -> None:
        test = self.eval(node.test)
        condition = self.as_condition(test)
        if isinstance(condition, torch.Tensor):  # where the model returns at all, it holds
            logger.info("%s: the exported file does not check what this asserts of the input", self.line())
            return
        if isinstance(condition, Varying):
            self.refuse("an assertion that does not depend on decisions", "one that does", "remove it")
        if not condition:
            raise AssertionError(self.eval(node.msg) if node.msg is not None else "")

    def _exec_Import(self, node: ast.Import) -> None:
        for name in node.names:
            module = __import__(name.name)
            if name.asname:
                for part in name.name.split(".")[1:]:
                    module = getattr(module, part)
            self._bind((name.asname or name.name).partition(".")[0], module)

    def _exec_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = [a.name for a in node.names]
        module = __import__(node.module or "", self.frame.space, None, names, node.level)
        for alias in node.names:
            self._bind(alias.asname or alias.name, getattr(module, alias.name))


def _loading(target: ast.expr) -> Any:
    """The target of an assignment, as an expression that is read."""
    copied = ast.parse(ast.unparse(target), mode="eval").body
    for inner in ast.walk(copied):
        ast.copy_location(inner, target)
    return copied
