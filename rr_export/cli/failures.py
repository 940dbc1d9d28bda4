"""What ends a command early: whose fault it is, what is said of it, and the exit code that it gives."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import click

from rr_export.cli.console import FAILED, USAGE
from rr_export.errors import RRExportError

_BETWEEN = ("torch.nn.modules.module", "rr_export.")  # whose frames stand between those of a model's modules

_ELSEWHERE = "_RemoteTraceback"  # what joblib gives as the cause of what another process raised


class FunctionFailed(click.ClickException):
    """A function of the user's raised; what it raised is the cause."""

    exit_code = FAILED


def is_expected(error: BaseException) -> bool:
    """Whether an error is the user's, the user's model's or the machine's; any other is a fault of rr_export."""
    known: tuple[type[Exception], ...] = (
        click.ClickException,
        *_own_errors(),
        ValueError,
        TypeError,
        OSError,
        RuntimeError,
        MemoryError,
    )
    return isinstance(error, known) or failure_of_users(error) is not None


def exit_code_of(error: BaseException) -> int:
    """Returns the exit code of what ended a command: 3 where the user's model or function failed, else 2."""
    return USAGE if failure_of_users(error) is None else FAILED


def told(error: BaseException, *, whole: bool = False) -> str:
    """Returns what is said of what ended a command.

    Where the user's model or function failed, with the traceback from the user's own code on.

    Args:
        error: what was raised.
        whole: with all of its traceback, and those of what it came from.
    """
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, (*_own_errors(), ValueError, TypeError)):
        text = str(error)
    else:  # the machine's own
        text = f"{type(error).__name__}: {error}"
    if whole:
        return f"{text}\n{''.join(traceback.format_exception(error)).rstrip()}"
    theirs = failure_of_users(error)
    if theirs is None:
        return text
    named = next((cause for cause in _causes(error) if isinstance(cause, FunctionFailed)), None)
    if theirs is error:
        text = model_failed(error)
    elif named is not None:
        text = named.format_message()
    return f"{text}\n{traceback_from_user(theirs)}"


def model_failed(error: BaseException) -> str:
    """Returns what is said of what the user's model raised, in one line."""
    text = " ".join(str(error).split())
    text += "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"expected a model that runs, got {type(error).__name__}{': ' * bool(text)}{text}; mend it there"


def failure_of_users(error: BaseException) -> BaseException | None:
    """Returns what the user's model or function raised that led to an error; None where they raised nothing."""
    for cause in _causes(error):
        if isinstance(cause, FunctionFailed):
            return cause.__cause__
        if isinstance(cause, SystemExit):  # nobody else leaves
            return cause
        if isinstance(cause, _own_errors()):
            continue
        if _called_by_us(cause.__traceback__) is not None or _called_elsewhere(cause) is not None:
            return cause
    return None


def traceback_from_user(error: BaseException) -> str:
    """Returns type, text and traceback of an error, from the first frame of the user's own files on.

    Where it came through none, from where the model was called on.
    """
    frames = _called_elsewhere(error)
    if frames is None:
        trace = _called_by_us(error.__traceback__) or error.__traceback__
        found = [e for e in _entries(trace) if not str(e.tb_frame.f_globals.get("__name__")).startswith(_BETWEEN)]
        texts = traceback.StackSummary.extract((e.tb_frame, e.tb_lineno) for e in found).format()
        frames = [(e.tb_frame.f_code.co_filename, text) for e, text in zip(found, texts, strict=True)]
    first = next((i for i, (file, _) in enumerate(frames) if not is_library(file)), 0)
    said = "".join(traceback.format_exception_only(error))
    return f"Traceback (most recent call last):\n{''.join(text for _, text in frames[first:])}{said}".rstrip()


def is_library(file: str) -> bool:
    """Returns whether a file of code is of an installed package, of Python, or of rr_export."""
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    homes = [Path(__file__).parents[1], *map(Path, installed)]
    return file.startswith("<") or any(home in Path(file).parents for home in homes)


def _own_errors() -> tuple[type[Exception], ...]:
    """The errors of both packages; where rr_runtime was not imported it raised nothing."""
    runtime = sys.modules.get("rr_runtime.errors")
    return (RRExportError,) if runtime is None else (RRExportError, runtime.RuntimeFailure)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__


def _called_by_us(trace: TracebackType | None) -> TracebackType | None:
    """What follows the call of the user's model or function in a traceback; None where it was not called."""
    request = sys.modules.get("rr_export.capture.request")  # without it no model was called
    calls = [e for e in _entries(trace) if request and e.tb_frame.f_code is request.Request.call.__code__]
    return calls[-1].tb_next if calls else None


def _called_elsewhere(error: BaseException) -> list[tuple[str, str]] | None:
    """File and text of the frames after the call of the user's model in another process; None where it was in none."""
    request = sys.modules.get("rr_export.capture.request")
    told = str(error.__cause__) if type(error.__cause__).__name__ == _ELSEWHERE else ""
    frames = [
        (found[1], found[0]) for found in re.finditer(r'^  File "(.+?)", line .+\n(?:    .+\n)*', told, re.MULTILINE)
    ]
    calls = [
        i for i, (file, text) in enumerate(frames) if request and file == request.__file__ and ", in call\n" in text
    ]
    torch = getattr(sys.modules.get(_BETWEEN[0]), "__file__", None)
    between = (str(Path(__file__).parents[1]), *filter(None, [torch]))
    return [(file, text) for file, text in frames[calls[-1] + 1 :] if not file.startswith(between)] if calls else None


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next
