"""What every command prints to, how it shows progress, and how it gives up."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

# Exit codes: it holds; it does not; bad usage or bad input; the user's model or function failed; a fault of rr_export.
HOLDS, MISMATCH, USAGE, FAILED, FAULT = range(5)
CLOSED = 141  # nobody reads the output any more: what a shell says of a program that SIGPIPE ended
out = Console()
err = Console(stderr=True)


def end_unread() -> NoReturn:
    """Exits without a word; what is still to be printed goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(CLOSED)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning the way errors are printed; takes the place of ``warnings.showwarning``."""
    err.print(f"[yellow]warning:[/] {escape(str(message))}")


def end(code: int) -> NoReturn:
    """Ends a command with an exit code; who calls ``sys.exit`` is code of the user's, which fails by that."""
    raise click.exceptions.Exit(code)


def fail(text: str, *, code: int = USAGE) -> NoReturn:
    """Prints an error and exits, as on bad usage unless another code is given."""
    err.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)
    sys.exit(code)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a bar on standard error; yields a function that moves it: (stage, done, total)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        said: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title}: {stage}", completed=done, total=total)
            if not err.is_terminal and stage not in said:
                said.add(stage)
                err.print(f"{title}: {stage}")

        if not err.is_terminal:
            err.print(f"{title} ...")
        yield tell
