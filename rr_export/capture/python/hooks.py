"""Forward hooks of modules, which decide as their forwards do."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.interpreter import Interpreter
from rr_export.capture.python.source_code import wants_interpreter
from rr_export.capture.python.values import Varying


@contextlib.contextmanager
def interpreted_hooks(tracing: Interpreter) -> Iterator[None]:
    """Inside, hooks of the model's modules that may decide are the interpreter's."""
    undo: list[Callable[[], None]] = []
    try:
        for module in tracing.root.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            for hooks, make in ((module._forward_pre_hooks, _before), (module._forward_hooks, _after)):
                for number, hook in list(hooks.items()):
                    if _may_decide(hook):
                        undo.append(functools.partial(hooks.__setitem__, number, hook))
                        hooks[number] = make(tracing, hook)
        yield
    finally:
        for step in reversed(undo):
            step()


def _may_decide(hook: Any) -> bool:
    """Whether the interpreter can run a hook, and what it runs may decide."""
    if isinstance(hook, functools.partial):
        return _may_decide(hook.func)
    function = hook.__func__ if isinstance(hook, types.MethodType) else hook
    if not isinstance(function, types.FunctionType):
        function = vars(type(hook)).get("__call__")
    return isinstance(function, types.FunctionType) and wants_interpreter(function)


def _before(tracing: Interpreter, hook: Any) -> Any:
    def call(module: Any, *given: Any) -> Any:  # args, or args and kwargs
        returned = tracing.call(hook, (module, *given), {})
        return _or_else(tracing, returned, given[0] if len(given) == 1 else given, len(given) == 1)

    return call


def _after(tracing: Interpreter, hook: Any) -> Any:
    def call(module: Any, *given: Any) -> Any:  # args, perhaps kwargs, and the result
        return _or_else(tracing, tracing.call(hook, (module, *given), {}), given[-1], False)

    return call


def _or_else(tracing: Interpreter, returned: Any, given: Any, packed: bool) -> Any:
    """What a hook makes of what it is given: torch takes None for no change, which a value that varies hides."""
    if not isinstance(returned, Varying) or all(leaf is not None for leaf in dd.leaves(returned.diagram)):
        return returned

    def made(one: Any) -> Any:
        if one is None:
            return given
        return (one,) if packed and not isinstance(one, tuple) else one

    return tracing.lift(made, (returned,), {})
