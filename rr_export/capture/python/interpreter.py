"""A small interpreter of Python, in which every decision goes all its ways: functions."""

from __future__ import annotations

import ast
import functools
import inspect
import types
from typing import Any

from torch import nn

from rr_export.capture.python.expressions import Closure, Frame
from rr_export.capture.python.flow import MOST_TURNS, NEXT
from rr_export.capture.python.heap import Scope
from rr_export.capture.python.joining import FLOW, RESULT
from rr_export.capture.python.source_code import Source, draws, source_of, wants_interpreter
from rr_export.capture.python.statements import Statements
from rr_export.capture.python.values import Sifted, Varying

_KNOWN = ("torch", "numpy")


class Interpreter(Statements):
    """Runs functions."""

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call gives, interpreted where the function's source is at hand."""
        if hasattr(function, "__rr_forward__"):
            return function(*args, **kwargs)
        if isinstance(function, types.MethodType):
            inner = function.__func__
            if isinstance(inner, Closure) or (isinstance(inner, types.FunctionType) and wants_interpreter(inner)):
                return self.call(inner, (function.__self__, *args), kwargs)
        if isinstance(function, functools.partial):
            return self.call(function.func, (*function.args, *args), {**function.keywords, **kwargs})
        if isinstance(function, types.FunctionType):
            if wants_interpreter(function):
                return self.run_function(function, args, kwargs)
            if getattr(function, "__module__", "") not in _KNOWN and self._is_author(function):
                self._without_source(function)
        if not isinstance(function, nn.Module | type | Closure):
            method = inspect.getattr_static(type(function), "__call__", None)
            if isinstance(method, types.FunctionType) and wants_interpreter(method):
                return self.run_function(method, (function, *args), kwargs)
        return self.call_native(function, args, kwargs)

    def _is_author(self, function: types.FunctionType) -> bool:
        return function.__code__.co_filename.startswith("<") and not function.__code__.co_filename.startswith("<frozen")

    def _without_source(self, function: types.FunctionType) -> None:
        if draws(function):
            self.refuse(
                "functions whose source is available",
                f"{function.__name__!r} without it ({function.__code__.co_filename})",
                "put it into a file",
            )

    def run_function(self, function: types.FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a plain Python function gives."""
        source = source_of(function)
        assert source is not None
        bound = inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
        bound.apply_defaults()
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        return self.run_source(source, dict(bound.arguments), None, cells, function.__globals__)

    def run_source(
        self,
        source: Source,
        variables: dict[str, Any],
        parent: Frame | None,
        cells: dict[str, Any],
        space: dict[str, Any],
    ) -> Any:
        """Returns what a function with this source gives for these arguments."""
        name = getattr(source.node, "name", "<lambda>")
        if self.depth and sum(frame.source is source for frame in self.stack) > MOST_TURNS:
            self._unbounded("a recursion", "count its depth")
        scope = Scope({**variables, FLOW: NEXT}, name)
        frame = Frame(source, scope, parent, cells, space, source.node, outer=self.guard)
        self.push(frame)
        try:
            if isinstance(source.node, ast.Lambda):
                return self.eval(source.node.body)
            self.block(source.node.body)
            flow = self.flow
            if isinstance(flow, Varying):
                self.where_flow(NEXT, self._fall_off)
            elif flow == NEXT:
                self._fall_off()
            if source.yields:
                sifted = any(there is not True for there, _ in frame.yielded)
                return Sifted(frame.yielded) if sifted else iter([value for _, value in frame.yielded])
            return self.read(scope.variables[RESULT])
        finally:
            self.pop()
