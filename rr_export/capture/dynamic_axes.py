"""The dynamic axes: the user's names, torch's objects for them, and the bounds that a model has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch.export import Dim

Bounds = tuple[int | None, int | None]  # least and largest size of an axis; None: no bound


class Dims:
    """One ``Dim`` for every name, within the bounds that the model is known to need."""

    def __init__(self, bounds: Mapping[str, Bounds]) -> None:
        self.bounds, self.known = bounds, dict[str, Any]()

    def named(self, name: str) -> Any:
        """Returns the ``Dim`` of this name."""
        if not name.isidentifier():
            raise ValueError(f"dynamic_shapes: expected names such as 'batch', got {name!r}; use letters and digits")
        if name not in self.known:
            least, most = self.bounds.get(name, (None, None))
            self.known[name] = Dim(name, min=least, max=most)
        return self.known[name]

    def given(self, dim: Any) -> Any:
        """Returns the user's own ``Dim``, within the bounds."""
        if dim.__name__ in self.bounds and type(dim) is Dim:
            return self.named(dim.__name__)
        if type(dim) is Dim:
            self.known.setdefault(dim.__name__, dim)
        return dim


def named_axes(spec: Any, value: Any, name: str, axes: dict[tuple[str, int], str], dims: Dims) -> Any:
    """Returns dynamic shapes with ``Dim`` objects for names; ``axes`` gets the name of each axis of each input."""
    if spec is None:
        return None
    if isinstance(value, torch.Tensor):
        if not isinstance(spec, Mapping | tuple | list):
            raise ValueError(
                f"dynamic_shapes: expected {{axis: name}} for {name!r}, got {spec!r}; such as {{0: 'batch'}}"
            )
        items = dict(spec) if isinstance(spec, Mapping) else dict(enumerate(spec))
        for axis, size in items.items():
            if not isinstance(axis, int) or not 0 <= axis < value.dim():
                raise ValueError(
                    f"dynamic_shapes: expected axes 0..{value.dim() - 1} for {name!r}, got {axis!r}; count from 0"
                )
            if isinstance(size, str):
                items[axis] = dims.named(size)
                axes[name, axis] = size
            elif size is Dim.DYNAMIC:
                axes[name, axis] = f"{name}_{axis}"
            elif isinstance(size, Dim):
                items[axis] = dims.given(size)
                axes[name, axis] = size.__name__
        return items
    if isinstance(value, Mapping | tuple | list) and not isinstance(spec, Mapping | tuple | list):
        raise ValueError(
            f"dynamic_shapes: expected a structure like that of {name!r}, got {spec!r}; nest the axes as it is nested"
        )
    if isinstance(value, Mapping):
        if not isinstance(spec, Mapping):
            raise ValueError(f"dynamic_shapes: expected a dict for {name!r}, got {spec!r}; name its keys")
        return {k: named_axes(spec.get(k), v, _join(name, k), axes, dims) for k, v in value.items()}
    if isinstance(value, tuple | list):
        if isinstance(spec, Mapping) or len(spec) != len(value):
            raise ValueError(
                f"dynamic_shapes: expected a tuple of {len(value)} entries for {name!r}, got {spec!r}; give None where "
                "all axes are fixed"
            )
        parts = [named_axes(s, v, _join(name, i), axes, dims) for i, (s, v) in enumerate(zip(spec, value, strict=True))]
        return type(value)(parts) if type(value) in (tuple, list) else tuple(parts)
    return None


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def suggested_bounds(text: str) -> dict[str, Bounds]:
    """Returns the bounds of axes that torch.export asks for in an error; none if it asks for anything else."""
    lines = [
        line.strip() for line in text.partition("Suggested fixes:")[2].split("\n\n")[0].splitlines() if line.strip()
    ]
    found = [re.fullmatch(r"(\w+) = Dim\('\w+'(?:, min=(\d+))?(?:, max=(\d+))?\)", line) for line in lines]
    if not found or not all(found):
        return {}
    return {m[1]: (int(m[2]) if m[2] else None, int(m[3]) if m[3] else None) for m in found if m}


def bounds_of(dims: Mapping[str, Any]) -> dict[str, Bounds]:
    """Returns least and largest size of the axes that have any (None: no bound), by name."""
    found = {name: (dim.min if dim.min > 1 else None, _finite(dim.max)) for name, dim in dims.items()}
    return {name: pair for name, pair in found.items() if pair != (None, None)}


def _finite(size: Any) -> int | None:
    return int(size) if isinstance(size, int) and size < 2**31 else None
