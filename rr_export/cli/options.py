"""Reads what several commands are given: inputs, paths, sizes, codes of rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from rr_export.lint.finding import RULES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_codes(option: str, texts: Sequence[str], default: set[str]) -> set[str]:
    """Returns the codes that an option names, each in full or by a prefix."""
    asked = [part.strip().upper() for text in texts for part in text.split(",") if part.strip()]
    found: set[str] = set()
    for part in asked:
        codes = {code for code in RULES if code.startswith(part)}
        if not codes:
            raise click.UsageError(f"{option}: expected codes such as RR103, got {part!r}; see rr-export lint --rules")
        found |= codes
    return found if asked else default


def read_inputs(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Returns the arrays that ``NAME=FILE.npy`` texts name, by input."""
    read = [_read_input(text) for text in texts]
    for number, (name, _) in enumerate(read):
        if name in [n for n, _ in read[:number]]:
            raise click.UsageError(f"--input: expected every name once, got {name!r} twice; drop one")
    return dict(read)


def read_numbers(option: str, text: str | None) -> list[float]:
    """Returns the numbers of ``0.5,0.5,0.5``, [] for None."""
    try:
        return [] if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise click.UsageError(
            f"{option}: expected numbers joined by commas, got {text!r}; for instance 0.5,0.5,0.5"
        ) from error


def read_path(text: str | None, option: str = "--path") -> list[int] | None:
    """Returns the routes of ``1,0,-1``, None for None."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise click.UsageError(
            f"{option}: expected integers joined by commas, got {text!r}; for instance 1,0,-1"
        ) from error


def read_sizes(texts: Sequence[str]) -> dict[str, int]:
    """Returns the sizes that ``AXIS=N`` texts name, by axis."""
    sizes: dict[str, int] = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not (size.isascii() and size.isdecimal()) or int(size) < 1:
            raise click.UsageError(f"--size: expected AXIS=N with N of at least 1, got {text!r}; for instance batch=8")
        if name in sizes:
            raise click.UsageError(f"--size: expected every axis once, got {name!r} twice; drop one")
        sizes[name] = int(size)
    return sizes


def _read_input(text: str) -> tuple[str, NDArray[Any]]:
    from rr_runtime.array_files import read_array

    name, _, file = text.partition("=")
    if not file:
        raise click.UsageError(f"--input: expected NAME=FILE.npy, got {text!r}; name the input")
    return name, read_array(file, f"--input {name}")
