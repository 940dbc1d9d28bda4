"""What a skipped layer returns, piece by piece: arguments, zeros and None, in the nesting of the layer's results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils import _pytree as pytree

_FEW = 4  # results that a message lists


@dataclass(frozen=True)
class Passed:
    """An argument, or a part of one, that passes by the layer.

    Attributes:
        name: of the argument.
        position: of a positional argument; None: it is given by keyword.
        inner: the way to a part of it, child by child.
    """

    name: str
    position: int | None
    inner: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """What to call it in a message."""
        return ".".join((self.name, *map(str, self.inner)))


@dataclass(frozen=True)
class ZeroResult:
    """Zeros like an argument, or of the shape that the layer's own result has.

    Attributes:
        like: the argument; None: the shape is that of the result.
        shape: of the result.
        dtype: of the result.
        device: of the result.
    """

    like: Passed | None
    shape: tuple[Any, ...] = ()
    dtype: torch.dtype = torch.float32
    device: torch.device | None = None


@dataclass(frozen=True)
class Nested:
    """A container of results: one part for each child."""

    spec: pytree.TreeSpec
    parts: tuple[Any, ...]


Part = Passed | ZeroResult | Nested | None


def made(part: Part, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Returns what a skip returns for these arguments."""
    if isinstance(part, Nested):
        return pytree.tree_unflatten([made(p, args, kwargs) for p in part.parts], part.spec)
    if isinstance(part, ZeroResult):
        if part.like is None:
            return torch.zeros(part.shape, dtype=part.dtype, device=part.device)
        found = made(part.like, args, kwargs)
        return pytree.tree_map_only(torch.Tensor, torch.zeros_like, found)
    if part is None:
        return None
    value = kwargs[part.name] if part.position is None else args[part.position]
    for child in part.inner:
        value = children(value)[1][child]
    return value


def children(value: Any) -> tuple[list[str], list[Any], pytree.TreeSpec]:
    """Returns the names of the children of a container, the children, and what makes a container of children."""
    found, spec = pytree.tree_flatten_with_path(value, is_leaf=lambda inner: inner is not value)
    names = [str(getattr(path[0], "key", getattr(path[0], "name", ""))) for path, _ in found]
    return names, [child for _, child in found], spec


def is_container(value: Any) -> bool:
    """Returns whether a value is a container that torch knows: a tuple, list, dict or registered class."""
    return not pytree.tree_is_leaf(value)


def alike(one: Any, other: Any, *, dtypes: bool = True) -> bool:
    """Returns whether two values hold tensors of the same shapes (and dtypes) in the same nesting."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return (not dtypes or one.dtype == other.dtype) and same_shape(one, other)
    if type(one) is not type(other) or not is_container(one):
        return False
    (names, first, _), (others, second, _) = children(one), children(other)
    if not first or names != others or len(first) != len(second):
        return False
    return all(alike(a, b, dtypes=dtypes) for a, b in zip(first, second, strict=True))


def same_shape(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Returns whether two tensors have one shape, for every size of dynamic axes."""
    return one.dim() == other.dim() and all(
        m is n or statically_known_true(m == n) for m, n in zip(_sizes(one), _sizes(other), strict=True)
    )


def _sizes(tensor: torch.Tensor) -> list[Any]:
    """The sizes as numbers or symbols; torch.jit.trace makes tensors of them."""
    return [int(size) if isinstance(size, torch.Tensor) else size for size in tensor.shape]


def shape_of(value: Any, *, dtypes: bool = True) -> Any:
    """Returns what kind of value this is, comparable: nesting, dimensions, dtypes, and constants that may be flags."""
    if isinstance(value, torch.Tensor):
        return "tensor", value.dim(), value.dtype if dtypes else None
    if value is None or isinstance(value, bool | int | str):
        return value if dtypes else type(value)
    if not is_container(value):
        return type(value)
    names, inner, _ = children(value)
    return type(value), tuple(names), tuple(shape_of(child, dtypes=dtypes) for child in inner)


def sizes_of(value: Any) -> tuple[Any, ...]:
    """Returns the sizes of all tensors in a value, comparable; symbols of a trace as text."""
    tensors = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
    return tuple(n if isinstance(n, int) else str(n) for tensor in tensors for n in _sizes(tensor))


def shown(value: Any) -> str:
    """Returns what to call a value in a message."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, tuple | list):
        inner = f" ({', '.join(map(shown, value))})" if 0 < len(value) <= _FEW else ""
        return f"a {type(value).__name__} of {len(value)}{inner}"
    return "None" if value is None else f"a {type(value).__name__}"


def called(layer: nn.Module) -> str:
    """Returns what to call the site of a layer in a message."""
    return f"LayerChoice({type(layer).__name__})"
