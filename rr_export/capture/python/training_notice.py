"""Tells which modules of a model in evaluation mode have routes of training, that an export would leave out.

Their code is looked at first: where nothing asks for the training mode beside a draw, nothing runs. Only where it does
are the trials run that find training routes, so that draws which have no effect (a layer drop of zero) are not told.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from rr_export.capture.python.training_mode_routes import is_torch_layer
from rr_export.capture.python.training_trials import TrainingTrials
from rr_export.capture.request import Request
from rr_export.eager.choice import Choice
from rr_export.eager.kept_streams import streams_kept
from rr_export.errors import CaptureError

_CHOOSING = frozenset(  # names of functions that draw what chooses; normal numbers are noise
    {"bernoulli", "bernoulli_", "binomial", "choice", "choices", "multinomial", "rand", "rand_like", "randint"}
    | {"random", "random_sample", "randrange", "sample", "uniform"}
)
_MAKING = frozenset({"__init__", "reset_parameters", "_init_weights", "init_weights"})  # what draws weights


def training_routes_in(request: Request) -> tuple[str, ...]:
    """Returns a text for each class of modules that decides at random in training only: its name and line.

    Args:
        request: a model in evaluation mode, and its arguments.
    """
    own = {n: m for n, m in request.model.named_modules() if not isinstance(m, Choice) and not is_torch_layer(m)}
    told = {kind: _line_of_draw(kind) for kind in set(map(type, own.values()))}
    lines = {name: line for name, module in own.items() if (line := told[type(module)]) is not None}
    if not lines:
        return ()
    try:
        with streams_kept():
            trials = TrainingTrials(request)
            routers = trials.with_effect([name for name in trials.routers() if name in lines])
    except (CaptureError, RuntimeError):  # it does not run in training mode: then it has no routes that could be kept
        return ()
    return tuple(dict.fromkeys(lines[name] for name in routers))


def _line_of_draw(kind: type[nn.Module]) -> str | None:
    """Where the code of a class asks for the training mode, if it draws, or what it hands the mode to does."""
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in ("torch", "builtins", "rr_export"):
            continue
        for method in vars(base).values():
            if inspect.isfunction(method) and method.__name__ not in _MAKING:
                line = _line_in(method)
                if line is not None:
                    return f"{kind.__name__} ({line})"
    return None


def _line_in(function: Callable[..., Any]) -> str | None:
    tree, first = _parsed(function)
    asked = [node for node in _nodes(tree) if isinstance(node, ast.Attribute) and node.attr == "training"]
    if not asked:
        return None
    called = [
        function.__globals__.get(node.func.id)
        for node in _nodes(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and any(a in set(_nodes(node)) for a in asked)
    ]
    trees = [tree, *(_parsed(other)[0] for other in called if inspect.isfunction(other))]
    if not any(_draws(node) for other in trees for node in _nodes(other)):
        return None
    return f"{Path(inspect.getfile(function)).name}:{first + asked[0].lineno - 1}"


def _draws(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in _CHOOSING or (name == "uniform_" and not node.args)


def _parsed(function: Any) -> tuple[ast.AST | None, int]:
    """The code of a function, and the line where it begins; none where it has no source."""
    try:
        lines, first = inspect.getsourcelines(function)
        return ast.parse(textwrap.dedent("".join(lines))), first
    except (OSError, TypeError, SyntaxError):
        return None, 0


def _nodes(tree: ast.AST | None) -> Iterator[ast.AST]:
    return iter(()) if tree is None else ast.walk(tree)
