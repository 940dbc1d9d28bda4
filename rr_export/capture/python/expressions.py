"""How the interpreter evaluates expressions."""

from __future__ import annotations

import ast
import builtins
import inspect
import operator
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.arithmetic import call_plain, operate, truth
from rr_export.capture.python.calls import Calls
from rr_export.capture.python.heap import MISSING, Scope
from rr_export.capture.python.source_code import Source, analysed
from rr_export.capture.python.values import Drawn, Poison, Sifted, Varying, is_symbolic, settled

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
IN_PLACE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    kind: getattr(operator, "i" + function.__name__.strip("_")) for kind, function in BINARY.items()
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


@dataclass
class Frame:
    """One function that is being run.

    Attributes:
        source: what is run.
        scope: its names, and under ``<flow>`` and ``<result>`` how it goes on.
        parent: the frame whose names it sees, for a function inside a function.
        cells: names of the functions around it that are not interpreted.
        space: its globals.
        pending: the blocks and loops that it is in, outermost first, as the statements know them.
        shared: how many joins lie ahead in this frame at which other branches go on too.
        innermost: of the joins that lie ahead of branches that were run on inside another one, that furthest in.
        yielded: what it has yielded, each with whether it is there.
        outer: under which decisions it was called.
    """

    source: Source
    scope: Scope
    parent: Frame | None
    cells: dict[str, Any]
    space: dict[str, Any]
    node: ast.AST
    pending: list[Any] = field(default_factory=list)
    shared: int = 0
    innermost: int = -1
    yielded: list[tuple[Any, Any]] = field(default_factory=list)
    outer: dd.Diagram = dd.TRUE

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


class Closure:
    """A function or lambda that was made inside an interpreted one."""

    def __init__(self, runner: Any, source: Source, frame: Frame, stub: Callable[..., dict[str, Any]]) -> None:
        self.runner, self.source, self.frame, self.stub = runner, source, frame, stub
        self.__name__ = self.__qualname__ = getattr(source.node, "name", "<lambda>")
        self.__doc__, self.__module__ = None, frame.space.get("__name__", "")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the function gives, interpreted."""
        return self.runner.run_source(
            self.source, self.stub(*args, **kwargs), self.frame, self.frame.cells, self.frame.space
        )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


class Expressions(Calls):
    """Evaluates expressions of the current frame."""

    frame: Frame

    def eval(self, node: ast.expr) -> Any:
        """Returns the value of an expression."""
        outer, self.frame.node = self.frame.node, node
        try:
            value = getattr(self, f"_eval_{type(node).__name__}")(node)
        finally:
            self.frame.node = outer
        return value

    def read(self, value: Any) -> Any:
        """Returns a value that the code reads, which must be one."""
        if isinstance(value, Poison):
            self.refuse(value.expected, value.got, value.do)
        if type(value) is list and id(value) in self.ragged:
            _, there = self.ragged[id(value)]
            return Sifted(list(zip(there, value, strict=True)), (value, there))
        return settled(value)

    def _eval_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def _eval_Name(self, node: ast.Name) -> Any:
        name = node.id
        owner = self.frame.owner(name)
        if owner is not None:
            value = owner.scope.variables.get(name, MISSING)
            if value is MISSING:
                raise UnboundLocalError(
                    f"cannot access local variable {name!r} where it is not associated with a value"
                )
            return self.read(value)
        if name in self.frame.cells:
            return self.read(self.frame.cells[name].cell_contents)
        if name in self.frame.space:
            return self.read(self.frame.space[name])
        try:
            return getattr(builtins, name)
        except AttributeError:
            raise NameError(f"name {name!r} is not defined") from None

    def _eval_Attribute(self, node: ast.Attribute) -> Any:
        return self.attribute(self.eval(node.value), node.attr)

    def attribute(self, owner: Any, name: str) -> Any:
        """Returns ``owner.name``."""
        self.state.reads(owner, name, self.line)
        if isinstance(owner, Varying):
            return self.lift(getattr, (owner, name), {})
        descriptor = inspect.getattr_static(type(owner), name, None) if not isinstance(owner, type) else None
        if isinstance(descriptor, property) and descriptor.fget is not None:
            return self.read(self.call(descriptor.fget, (owner,), {}))
        return self.read(getattr(owner, name))

    def _eval_Subscript(self, node: ast.Subscript) -> Any:
        owner, key = self.eval(node.value), self.eval(node.slice)
        return self.read(self.item(owner, key))

    def item(self, owner: Any, key: Any) -> Any:
        """Returns ``owner[key]``."""
        owner = owner.whole() if isinstance(owner, Sifted) else owner
        if isinstance(key, Drawn):
            key = key.item()
        key = self._sliced(key)
        if isinstance(owner, Drawn) and not is_symbolic(key):
            return owner[key]
        if self.varies((owner, key)):
            return self.lift(operator.getitem, (owner, key), {})
        return owner[key]

    def _sliced(self, key: Any) -> Any:
        """A key with slices whose bounds vary, as a key that varies."""
        if isinstance(key, tuple):
            parts = tuple(map(self._sliced, key))
            if any(isinstance(part, Varying) for part in parts):
                return call_plain(lambda *values: values, *parts)
            return parts
        if isinstance(key, slice):
            bounds = [b.item() if isinstance(b, Drawn) else b for b in (key.start, key.stop, key.step)]
            return call_plain(slice, *bounds) if any(map(is_symbolic, bounds)) else key
        return key

    def _eval_Slice(self, node: ast.Slice) -> Any:
        return slice(*(None if part is None else self.eval(part) for part in (node.lower, node.upper, node.step)))

    def _eval_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._elements(node.elts))

    def _eval_List(self, node: ast.List) -> Any:
        return self._elements(node.elts)

    def _eval_Set(self, node: ast.Set) -> Any:
        return set(self._elements(node.elts))

    def _elements(self, nodes: list[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found.extend(self.eval(node.value))
            else:
                found.append(self.eval(node))
        return found

    def _eval_Dict(self, node: ast.Dict) -> Any:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                found.update(self.eval(value))
            else:
                found[self.eval(key)] = self.eval(value)
        return found

    def _eval_JoinedStr(self, node: ast.JoinedStr) -> Any:
        parts = [self.eval(part) for part in node.values]
        if any(isinstance(p, Varying) for p in parts):
            return self.lift(lambda *values: "".join(map(str, values)), tuple(parts), {})
        return "".join(parts)

    def _eval_FormattedValue(self, node: ast.FormattedValue) -> Any:
        value = self.eval(node.value)
        spec = "" if node.format_spec is None else self.eval(node.format_spec)
        converters: dict[int, Callable[[Any], Any]] = {115: str, 114: repr, 97: ascii}
        convert = converters.get(node.conversion, lambda v: v)
        if isinstance(value, Varying):
            return self.lift(lambda v: format(convert(v), spec), (value,), {})
        return format(convert(value), spec)

    def _eval_NamedExpr(self, node: ast.NamedExpr) -> Any:
        value = self.eval(node.value)
        self.assign(node.target, value)
        return value

    def _eval_Lambda(self, node: ast.Lambda) -> Any:
        return self.closure(node)

    def _eval_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.eval(node.operand)
        if isinstance(node.op, ast.Not):
            return self.negated(value)
        function = UNARY[type(node.op)]
        return operate(function, value) if is_symbolic(value) else function(value)

    def negated(self, value: Any) -> Any:
        """Returns ``not value``."""
        if isinstance(value, torch.Tensor | Sifted):
            value = self.holds(value)
        return operate(operator.not_, truth(value)) if is_symbolic(value) else not value

    def _eval_BinOp(self, node: ast.BinOp) -> Any:
        return self.binary(BINARY[type(node.op)], self.eval(node.left), self.eval(node.right))

    def binary(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        """Returns what an operator gives."""
        left, right = (v.whole() if isinstance(v, Sifted) else v for v in (left, right))
        return operate(function, left, right) if self.varies((left, right)) else function(left, right)

    def _eval_Compare(self, node: ast.Compare) -> Any:
        return self._compare_chain(self.eval(node.left), list(zip(node.ops, node.comparators, strict=True)))

    def _compare_chain(self, left: Any, rest: list[tuple[ast.cmpop, ast.expr]]) -> Any:
        """``a < b < c``: the next comparison is made only where those before it hold."""
        (op, right_node), *others = rest
        right = self.eval(right_node)
        found = self._compare(COMPARE[type(op)], left, right)
        if not others:
            return found
        condition = self.as_condition(found)
        if isinstance(condition, bool):
            return self._compare_chain(right, others) if condition else found
        return self.read(self.branch(condition, lambda holds: self._whole(right, others) if holds else False))

    def _whole(self, left: Any, rest: list[tuple[ast.cmpop, ast.expr]]) -> Any:
        found = self._compare_chain(left, rest)
        return self.holds(found) if isinstance(found, torch.Tensor) else found

    def _compare(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        if function in (operator.is_, operator.is_not):
            if any(isinstance(v, Varying) for v in (left, right)):
                return call_plain(function, left, right)
            return function(left, right)
        return self.binary(function, left, right)

    def logical_and(self, left: Any, right: Any) -> Any:
        """Returns ``left and right`` of two values that are there already."""
        if any(isinstance(v, torch.Tensor) for v in (left, right)):
            return torch.logical_and(torch.as_tensor(left), torch.as_tensor(right))
        if is_symbolic(left) or is_symbolic(right):
            return operate(operator.and_, truth(left), truth(right))
        return left and right

    def _eval_BoolOp(self, node: ast.BoolOp) -> Any:
        return self._bool(node.values, isinstance(node.op, ast.And))

    def _bool(self, nodes: list[ast.expr], wanted: bool) -> Any:
        """``a and b`` (wanted) or ``a or b``: the rest is evaluated only where the first is as wanted."""
        first = self.eval(nodes[0])
        if len(nodes) == 1:
            return first
        condition = self.as_condition(first)
        if isinstance(condition, bool):
            return self._bool(nodes[1:], wanted) if condition is wanted else first

        def arm(outcome: bool) -> Any:
            if outcome is not wanted:
                return settled(first) if isinstance(first, Varying) else not wanted
            value = self._bool(nodes[1:], wanted)
            is_condition = isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.numel() == 1
            return self.holds(value) if is_condition else value

        return self.read(self.branch(condition, arm))

    def _eval_IfExp(self, node: ast.IfExp) -> Any:
        condition = self.as_condition(self.eval(node.test))
        if isinstance(condition, bool):
            return self.eval(node.body if condition else node.orelse)
        return self.read(self.branch(condition, lambda outcome: self.eval(node.body if outcome else node.orelse)))

    def _eval_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return self._super()
        owner = self.eval(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if isinstance(node.func, ast.Attribute):
            function: Any = (
                node.func.attr if isinstance(owner, Varying | Sifted) else self.attribute(owner, node.func.attr)
            )
        else:
            function = self.eval(node.func)
        args = self._elements(node.args)
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                kwargs.update(self.eval(keyword.value))
            else:
                kwargs[keyword.arg] = self.eval(keyword.value)
        if isinstance(owner, Varying):
            return self.read(self.call_method(owner, function, tuple(args), kwargs))
        if isinstance(owner, Sifted):
            return self.call_sifted(owner, node.func.attr, args)  # type: ignore[attr-defined]
        return self.read(self.call(function, tuple(args), kwargs))

    def _super(self) -> Any:
        frame: Frame | None = self.frame
        while frame is not None and "__class__" not in frame.cells:
            frame = frame.parent
        assert frame is not None
        first = frame.source.node.args.args[0].arg
        return super(frame.cells["__class__"].cell_contents, frame.scope.variables[first])

    def closure(self, node: ast.FunctionDef | ast.Lambda) -> Closure:
        """Returns the function that a definition inside this frame makes."""
        defaults = [self.eval(d) for d in node.args.defaults]
        keywords = {
            a.arg: self.eval(d)
            for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if d is not None
        }
        stub = stub_of(node)
        stub.__defaults__, stub.__kwdefaults__ = tuple(defaults), keywords
        return Closure(self, analysed(node, self.frame.source.file), self.frame, stub)

    def assign(self, target: ast.expr, value: Any) -> None:
        """Binds a target."""
        raise NotImplementedError


def stub_of(node: ast.FunctionDef | ast.Lambda) -> Any:
    """Returns a function with the parameters of a definition that returns its arguments by name."""
    none = ast.Constant(None)
    args = ast.arguments(
        posonlyargs=[ast.arg(a.arg) for a in node.args.posonlyargs],
        args=[ast.arg(a.arg) for a in node.args.args],
        vararg=ast.arg(node.args.vararg.arg) if node.args.vararg else None,
        kwonlyargs=[ast.arg(a.arg) for a in node.args.kwonlyargs],
        kw_defaults=[None if d is None else none for d in node.args.kw_defaults],
        kwarg=ast.arg(node.args.kwarg.arg) if node.args.kwarg else None,
        defaults=[none for _ in node.args.defaults],
    )
    call = ast.Call(ast.Name("locals", ast.Load()), [], [])
    function = ast.FunctionDef("stub", args, [ast.Return(call)], [], None, None)
    module = ast.fix_missing_locations(ast.Module([function], []))
    space: dict[str, Any] = {}
    exec(compile(module, "<stub>", "exec"), space)
    return space["stub"]
