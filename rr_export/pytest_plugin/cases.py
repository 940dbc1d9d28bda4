"""What a test is about: a model with its arguments, and the bundle that is to be the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle

KEYS = ("model", "args", "kwargs", "dynamic_shapes", "bundle")


@dataclass(frozen=True)
class Case:
    """A model, how to call it, and its bundle, if there is one already.

    Attributes:
        model: the eager model, in evaluation mode.
        args: example positional arguments.
        kwargs: example keyword arguments.
        dynamic_shapes: as for ``rr_export.export``, where the bundle is still to be made.
        bundle: a bundle or the place of one; None: the model is to be exported.
    """

    model: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    dynamic_shapes: Any = None
    bundle: Bundle | str | os.PathLike[str] | None = None


def names_bundle(thing: object) -> bool:
    """Returns whether this is a bundle, or the place of one."""
    from rr_export.bundle.bundle import Bundle

    return isinstance(thing, Bundle | str | os.PathLike)


def read_case(returned: object, where: str) -> Case:
    """Returns the case that a test returned.

    Args:
        returned: ``(model, args)`` or ``(model, args, kwargs)``, a bundle or its place before them where there is one,
            or a dictionary of these and ``dynamic_shapes``: what a function for ``rr-export export`` returns.
        where: the test.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(returned, Mapping) and "model" in returned and returned.keys() <= set(KEYS):
        given = dict(returned)
        return Case(**given | {"args": tuple(given.get("args", ())), "kwargs": given.get("kwargs") or {}})
    if isinstance(returned, tuple):
        bundle, rest = (returned[0], returned[1:]) if names_bundle((*returned, None)[0]) else (None, returned)
        if 2 <= len(rest) <= 3 and isinstance(rest[1], tuple | list):
            return Case(rest[0], tuple(rest[1]), (rest[2:] or [None])[0] or {}, bundle=bundle)
    shown = f"({', '.join(type(r).__name__ for r in returned)})" if isinstance(returned, tuple) else repr(returned)
    raise ValueError(
        f"{where}: expected the test to return (model, args), (bundle, model, args), either with kwargs behind, or a "
        f"dictionary of {', '.join(KEYS)}, got {shown[:80]}; return the case, and rr_parity proves it"
    )
