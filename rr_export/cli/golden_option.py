"""What ``--golden`` says: how many runs are recorded, or on which inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import click

from rr_export.cli.users_code import items_of, load_function


def golden_option(default: str) -> Callable[[Any], Any]:
    """The option of which runs a bundle records; ``default`` says which it records without it."""
    return click.option(
        "--golden",
        multiple=True,
        metavar="N|FILE.npz|MODULE:FUNCTION",
        help=f"Record so many runs to compare with on a device, or runs on these inputs; repeat (default: {default}).",
    )


def read_golden(texts: Sequence[str]) -> int | Iterable[Any] | None:
    """Returns what ``--golden`` texts say: how many runs, or the inputs that files hold or a function returns.

    Raises:
        click.ClickException: a text is none of these, or the function fails.
        ValueError: a file holds no arrays.
    """
    from rr_runtime.array_files import read_arrays

    if not texts:
        return None
    if len(texts) == 1 and texts[0].isascii() and texts[0].isdecimal():
        return int(texts[0])
    parts: list[Iterable[Any]] = []
    for text in texts:
        if text.endswith(".npz"):
            parts.append([read_arrays(text, "--golden")])
        elif ":" in text:
            made = load_function(text, where="--golden")()
            if isinstance(made, str | bytes | dict) or not isinstance(made, Iterable):
                raise click.UsageError(
                    f"--golden: expected {text} to return a list of inputs, got {type(made).__name__}; return [inputs]"
                )
            parts.append(items_of(text, made))
        else:
            raise click.UsageError(
                f"--golden: expected how many runs, a .npz file or MODULE:FUNCTION, got {text!r}; give one of them"
            )
    return chain.from_iterable(parts)
