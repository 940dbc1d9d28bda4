"""The bundles of one run of pytest: each is exported or loaded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rr_export.pytest_plugin.cases import Case, names_bundle
from rr_export.pytest_plugin.quiet_tracing import quiet_tracing

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle


class SessionBundles:
    """What was exported and loaded, by the very objects that it was made of.

    Args:
        folders: where exported bundles are saved: a bundle then has a place that ``rr_runtime.Session`` can open.
    """

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._known: list[tuple[tuple[Any, ...], Bundle]] = []

    def bundle(
        self,
        model: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Bundle:
        """Returns the bundle of a model, exported and saved the first time that it is asked for, or the one at a place.

        Args:
            model: the eager model; or a bundle's folder or file, and nothing else.
            args: example positional arguments. The same objects are the same case.
            kwargs: example keyword arguments.
            options: of ``rr_export.export``.

        Raises:
            TypeError: something beside the place of a bundle.
        """
        if names_bundle(model):
            if args or kwargs or options:
                raise TypeError(f"rr_bundle: expected a model before arguments, got the bundle {model}; name it alone")
            return self._opened(model)
        return self._once(
            (model, tuple(args), kwargs or {}, options), lambda: self._export(model, args, kwargs, options)
        )

    def of(self, case: Case, options: Mapping[str, Any]) -> Bundle:
        """Returns the bundle of a case, which is exported with these options where it has none."""
        if case.bundle is not None:
            return self.bundle(case.bundle)
        shapes = {} if case.dynamic_shapes is None else {"dynamic_shapes": case.dynamic_shapes}
        return self.bundle(case.model, case.args, case.kwargs, **shapes, **options)

    def _opened(self, bundle: Bundle | str | os.PathLike[str]) -> Bundle:
        from rr_export.bundle.bundle_reader import load

        if not isinstance(bundle, str | os.PathLike):
            return bundle
        place = os.path.realpath(bundle)
        return self._once((place,), lambda: load(place))

    def _once(self, made_of: tuple[Any, ...], make: Callable[[], Bundle]) -> Bundle:
        for known, bundle in self._known:
            if made_of_same(known, made_of):
                return bundle
        bundle = make()
        self._known.append((made_of, bundle))
        return bundle

    def _export(self, model: Any, args: Sequence[Any], kwargs: Any, options: dict[str, Any]) -> Bundle:
        from rr_export.export import export

        with quiet_tracing():
            bundle = export(model, tuple(args), kwargs, **options)
        bundle.save(Path(self._folders.mktemp("rr_bundle")) / type(model).__name__)
        return bundle


def made_of_same(one: Any, other: Any) -> bool:
    """Returns whether two are the same object, or equal texts or numbers, or containers of the same objects."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, str | int | float):
        return bool(one == other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(made_of_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(made_of_same, one, other))
    return False
