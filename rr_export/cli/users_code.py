"""The user's functions, by MODULE:FUNCTION: found and called; what they raise is told with its type and line."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from rr_export.cli.failures import FunctionFailed, is_library


def load_function(name: str, *, where: str = "model", arguments: int = 0) -> Callable[..., Any]:
    """Returns the function that ``module:function`` names; the working folder is on the path.

    Its own calls raise a ``click.ClickException`` that names the function, the line and what was raised there. What it
    prints goes to standard error, as it is no part of a command's output.

    Args:
        name: ``module:function``.
        where: what names it, for messages.
        arguments: how many it is called with.

    Raises:
        click.ClickException: there is none, it takes another number of arguments, or its module fails.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise click.UsageError(f"{where}: expected MODULE:FUNCTION, got {name!r}; for instance my_models:encoder")
    if module.endswith(".py") or "/" in module or os.sep in module:
        meant = ".".join(Path(module).with_suffix("").parts).lstrip("./")
        raise click.UsageError(f"{where}: expected MODULE:FUNCTION, got a file in {name!r}; write {meant}:{attribute}")
    function = _attribute(_module(module, where), attribute, where)
    if not callable(function):
        raise click.UsageError(f"{where}: expected {name!r} to be a function, got {type(function).__name__}; name one")
    _check_signature(name, function, arguments, where)

    @functools.wraps(function)
    def call(*given: Any) -> Any:
        with _told(f"{name} to return"), redirect_stdout(sys.stderr):
            return function(*given)

    call.users_function = function  # type: ignore[attr-defined]  # by which results are told from others
    return call


def items_of(name: str, made: Iterable[Any]) -> Iterable[Any]:
    """Returns what a function of the user's returned, whose items are made as they are asked for.

    What is raised and printed meanwhile is told as for the function itself.
    """
    return made if isinstance(made, list | tuple) else _items(name, made)


def _items(name: str, made: Iterable[Any]) -> Iterator[Any]:
    end = object()
    with _told(f"{name} to yield inputs"), redirect_stdout(sys.stderr):
        items = iter(made)
    while True:
        with _told(f"{name} to yield inputs"), redirect_stdout(sys.stderr):
            item = next(items, end)
        if item is end:
            return
        yield item


def _module(name: str, where: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        with _told(f"{name!r} to be imported"), redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except click.ClickException as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and f"{name}.".startswith(f"{missing.name}."):
            near = get_close_matches(name, [file.stem for file in Path().glob("*.py")])
            raise click.UsageError(
                f"{where}: expected an importable module, got no {missing.name!r} from {os.getcwd()} on; "
                + (f"did you mean {near[0]!r}?" if near else "run where the module lies")
            ) from missing
        raise
    finally:
        sys.path.pop(0)


def _attribute(module: ModuleType, name: str, where: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError as error:
        own = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__ and callable(v)]
        raise click.UsageError(
            f"{where}: expected a function of {module.__name__}, got no {name!r} in it; name one of: "
            + (", ".join(own) or "none are there")
        ) from error


def _check_signature(name: str, function: Callable[..., Any], arguments: int, where: str) -> None:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # it has none that Python can tell
        return
    try:
        signature.bind(*range(arguments))
    except TypeError as error:
        takes = {0: "no arguments", 1: "one argument"}.get(arguments, f"{arguments} arguments")
        raise click.UsageError(
            f"{where}: expected {name} to be called with {takes}, got {name.partition(':')[2]}{signature}; give the "
            "others defaults"
        ) from error


@contextmanager
def _told(expected: str) -> Iterator[None]:
    try:
        yield
    except click.ClickException:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise FunctionFailed(
            f"{_line(error)}: expected {expected}, got {type(error).__name__}{': ' * bool(text)}{text}; mend it there"
        ) from error


def _line(error: BaseException) -> str:
    """The innermost line of the user's own files that an error came through, else the innermost of any."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    own = [place for place in found if not is_library(place[0])]
    file, line = (own or found)[-1]
    return f"{_shown(file)}:{line}"


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
