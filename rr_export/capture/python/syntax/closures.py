"""Functions that are made inside interpreted ones."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from typing import Any

from rr_export.capture.python.frames import Frame, Stack
from rr_export.capture.python.source_code import Source, analysed
from rr_export.capture.python.syntax.dispatch import Dispatch, Forms

# from a source, its arguments by name, the frame around it, its cells and its globals to what it returns
RunSource = Callable[[Source, dict[str, Any], Frame | None, dict[str, Any], dict[str, Any]], Any]


class Closure:
    """A function or lambda that was made inside an interpreted one.

    Args:
        run: runs a source.
        source: its own.
        frame: the frame that it was made in.
        stub: from its arguments to those by name.
    """

    __rr_tracked__ = True  # code can set attributes of it

    def __init__(self, run: RunSource, source: Source, frame: Frame, stub: Callable[..., dict[str, Any]]) -> None:
        self.run, self.source, self.frame, self.stub = run, source, frame, stub
        self.__name__ = self.__qualname__ = getattr(source.node, "name", "<lambda>")
        self.__doc__, self.__module__ = None, frame.space.get("__name__", "")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Returns what the function gives, interpreted."""
        return self.run(self.source, self.stub(*args, **kwargs), self.frame, self.frame.cells, self.frame.space)

    def __rr_holds__(self) -> list[Any]:
        """Returns what it can change: its defaults, and the names of the functions around it."""
        scopes, frame = [], self.frame
        while frame is not None:
            scopes += [frame.scope, *frame.cells.values()]
            frame = frame.parent  # type: ignore[assignment]
        return [self.stub, vars(self), *scopes]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


class Closures:
    """Makes functions of the definitions inside the function that runs.

    Args:
        evaluate: evaluates the defaults of arguments.
        stack: the functions that run.
        run: runs a source.
    """

    def __init__(self, evaluate: Dispatch, stack: Stack, run: RunSource) -> None:
        self._evaluate, self._stack, self._run = evaluate, stack, run

    def expressions(self) -> Forms:
        """Returns the expressions that are known here."""
        return {ast.Lambda: self.make}

    def make(self, node: ast.FunctionDef | ast.Lambda) -> Closure:
        """Returns the function that a definition inside this frame makes."""
        defaults = [self._evaluate(d) for d in node.args.defaults]
        keywords = {
            a.arg: self._evaluate(d)
            for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if d is not None
        }
        stub = stub_of(node)
        stub.__defaults__, stub.__kwdefaults__ = tuple(defaults), keywords
        frame = self._stack.top
        return Closure(self._run, analysed(node, frame.source.file), frame, stub)


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
