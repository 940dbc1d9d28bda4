"""Public names that are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def import_when_asked(
    package: str, homes: Mapping[str, str], told: Callable[[ModuleNotFoundError, str], str | None] | None = None
) -> None:
    """Makes a package import its public names when they are first asked for.

    Functions such as ``export`` stay in place of the files and folders of their names.

    Args:
        package: its ``__name__``.
        homes: the module of each public name.
        told: what is said where the import fails for the lack of a module, given the error and the name; None: the
            error itself.
    """

    class LazyPackage(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            try:
                value = getattr(import_module(homes[name]), name)
            except ModuleNotFoundError as error:
                text = None if told is None else told(error, name)
                if text is None:
                    raise
                raise ModuleNotFoundError(text, name=error.name) from error
            super().__setattr__(name, value)
            return value

        def __setattr__(self, name: str, value: Any) -> None:
            if not (name in homes and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

        def __dir__(self) -> list[str]:
            return sorted({*vars(self), *homes})

    sys.modules[package].__class__ = LazyPackage
