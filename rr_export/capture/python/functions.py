"""Calls of functions, interpreted where their source is at hand."""

from __future__ import annotations

import ast
import functools
import inspect
import types
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from rr_export.capture.python.bounds import MOST_TURNS, refuse_unbounded
from rr_export.capture.python.calls import NativeCalls
from rr_export.capture.python.cursors import Cursor
from rr_export.capture.python.frames import NEXT, Frame, Stack
from rr_export.capture.python.heap import FLOW, RESULT, Scope
from rr_export.capture.python.intercepting import builtin_of
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.plain_access import mark_of
from rr_export.capture.python.source_code import Source, draws, source_of, wants_interpreter
from rr_export.capture.python.syntax.closures import Closure
from rr_export.capture.python.syntax.dispatch import Dispatch
from rr_export.capture.python.syntax.flow import Flow
from rr_export.capture.python.values import Poison, Sifted
from rr_export.capture.python.whereabouts import Whereabouts

_KNOWN = ("torch", "numpy")
# keywords of torch.utils.checkpoint.checkpoint itself
_OF_CHECKPOINT = ("use_reentrant", "preserve_rng_state", "context_fn", "determinism_check", "debug", "early_stop")


class Functions:
    """Calls functions.

    Args:
        evaluate: evaluates what a lambda returns.
        flow: runs the statements of a function.
        natives: calls what is not interpreted.
        stack: the functions that run.
        ledger: says under which decisions a function is called.
        memory: reads what a function returns.
        whereabouts: where the code is.
    """

    def __init__(
        self,
        evaluate: Dispatch,
        flow: Flow,
        natives: NativeCalls,
        stack: Stack,
        ledger: Ledger,
        memory: Memory,
        whereabouts: Whereabouts,
    ) -> None:
        self._evaluate, self._flow, self._natives, self._stack = evaluate, flow, natives, stack
        self._ledger, self._memory, self._whereabouts = ledger, memory, whereabouts

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call gives, interpreted where the function's source is at hand."""
        if function is checkpoint and args:
            kept = {key: value for key, value in kwargs.items() if key not in _OF_CHECKPOINT}
            return self.call(args[0], args[1:], kept)  # it gives what the function does
        function = _as_written(function)
        if mark_of(function, "__rr_forward__") is not None:
            return function(*args, **kwargs)
        if isinstance(function, types.MethodType):
            inner = function.__func__
            if isinstance(inner, Closure) or (isinstance(inner, types.FunctionType) and wants_interpreter(inner)):
                return self.call(inner, (function.__self__, *args), kwargs)
        if isinstance(function, functools.partial) and builtin_of(function) is function:
            return self.call(function.func, (*function.args, *args), {**function.keywords, **kwargs})
        if isinstance(function, types.FunctionType):
            if wants_interpreter(function):
                return self.run_function(function, args, kwargs)
            if getattr(function, "__module__", "") not in _KNOWN and _is_author(function):
                self._without_source(function)
        if not isinstance(function, nn.Module | type | Closure):
            method = inspect.getattr_static(type(function), "__call__", None)
            if isinstance(method, types.FunctionType) and wants_interpreter(method):
                return self.run_function(method, (function, *args), kwargs)
        if isinstance(function, Closure):
            return function(*args, **kwargs)
        found = self._natives.call(function, args, kwargs)
        return self._memory.read(found) if isinstance(found, Poison) else found

    def _without_source(self, function: types.FunctionType) -> None:
        if draws(function):
            self._whereabouts.refuse(
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
        if self._ledger.depth and sum(frame.source is source for frame in self._stack.frames) > MOST_TURNS:
            refuse_unbounded(self._whereabouts, "a recursion", "count its depth")
        scope = Scope({**variables, FLOW: NEXT}, name)
        frame = Frame(source, scope, parent, cells, space, source.node, outer=self._ledger.guard)
        self._memory.enters(frame)
        with self._stack.running(frame):
            if isinstance(source.node, ast.Lambda):
                return self._evaluate(source.node.body)
            self._flow.function(source.node.body)
            if source.yields:
                sifted = any(there is not True for there, _ in frame.yielded)
                return Sifted(frame.yielded) if sifted else Cursor([value for _, value in frame.yielded])
            return self._memory.read(scope.variables[RESULT])


def _as_written(function: Any) -> Any:
    """What ``torch.compile`` was given, or ``torch.fx.wrap`` names: traces put a function of their own around it."""
    function = mark_of(function, "_torchdynamo_orig_callable") or function
    if isinstance(function, types.FunctionType) and function.__globals__.get("__name__") == "torch.fx._symbolic_trace":
        return mark_of(function, "__wrapped__", function)
    return function


def _is_author(function: types.FunctionType) -> bool:
    return function.__code__.co_filename.startswith("<") and not function.__code__.co_filename.startswith("<frozen")
