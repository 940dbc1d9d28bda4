"""``--data`` of what is evaluated over paths: the batches of a function of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click

from rr_export.cli.users_code import items_of, load_function


class UsersBatches:
    """The batches of a function of the user's, which can be gone through again.

    What it returns is kept, but for what is used up by that, such as a generator: then it is called again every time.
    """

    def __init__(self, name: str) -> None:
        self._name, self._function = name, load_function(name, where="--data")
        self._made: Iterable[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        made = self._function() if self._made is None else self._made
        if not isinstance(made, Iterable):
            raise click.UsageError(
                f"--data: expected {self._name} to return an iterable, got {type(made).__name__}; return one"
            )
        if not isinstance(made, Iterator):
            self._made = made
        return iter(items_of(self._name, made))
