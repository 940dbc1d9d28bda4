"""Turns what the caller passes to a run into what the graph takes, or says what is wrong with it."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.manifest import RESERVED, Tensor
from rr_runtime.site_law import Site

Bounds = Mapping[str, tuple[int | None, int | None]]
KNOWN_SHAPES = 64  # shapes of all inputs that are remembered as right


class InputCheck:
    """Checks the inputs of many runs, as `check_inputs` does; what was right before is not looked at again.

    Arrays of the declared dtypes in C order, of shapes that were right in an earlier run, are right. Whatever else is
    passed goes through the whole check, which says what is wrong with it. Threads may share one.

    Args:
        declared: the model's own inputs.
        axes: the least and greatest size of symbolic sizes.
    """

    def __init__(self, declared: Sequence[Tensor], axes: Bounds) -> None:
        self._declared, self._axes = declared, axes
        self._expected = [(tensor.name, np.dtype(tensor.dtype)) for tensor in declared]
        self._right: set[tuple[tuple[int, ...], ...]] = set()

    def check(self, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Returns a new dictionary of the inputs, in the declared order.

        Raises:
            TypeError: as `check_inputs`.
            ValueError: as `check_inputs`.
        """
        if type(inputs) is dict and len(inputs) == len(self._expected):
            arrays, shapes = {}, []
            for name, dtype in self._expected:
                array = inputs.get(name)
                if type(array) is not np.ndarray or not array.flags.c_contiguous:
                    break
                if array.dtype is not dtype and array.dtype != dtype:
                    break
                arrays[name] = array
                shapes.append(array.shape)
            else:
                if tuple(shapes) in self._right:
                    return arrays
        arrays = check_inputs(inputs, self._declared, self._axes)
        if len(self._right) < KNOWN_SHAPES:
            self._right.add(tuple(array.shape for array in arrays.values()))
        return arrays


class PathCheck:
    """Checks the asked paths of many runs, as `check_path` does; threads may share one.

    Args:
        sites: the sites, in path order.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = sites
        self._branches = [len(site.branches) for site in sites]

    def check(self, path: Any) -> NDArray[np.int64]:
        """Returns the path as int64 [S], which the caller does not hold.

        Raises:
            TypeError: as `check_path`.
            ValueError: as `check_path`.
        """
        if type(path) is np.ndarray and path.dtype == np.int64 and path.ndim == 1:
            path = path.tolist()
        if type(path) in (list, tuple) and len(path) == len(self._branches):
            for route, count in zip(path, self._branches, strict=True):
                if type(route) is not int or not -1 <= route < count:
                    break
            else:
                return np.array(path, np.int64)
        return check_path(path, self._sites)


def check_inputs(
    inputs: Mapping[str, Any],
    declared: Sequence[Tensor],
    axes: Bounds = MappingProxyType({}),
) -> dict[str, NDArray[Any]]:
    """Returns the inputs as C-contiguous arrays of the declared dtypes and shapes, under the declared names.

    Arrays (numpy's, and whatever offers `__array__`) must have the declared dtype: nothing is cast. Python numbers and
    lists of them take it, where no integer changes its value; floats are rounded to it.

    Raises:
        TypeError: `inputs` is no mapping, or an input is of another dtype.
        ValueError: an input is missing, unknown, or of another rank or size, or symbolic sizes disagree.
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected a mapping of names to arrays, got {type(inputs).__name__}; pass a dict")
    _check_names(inputs, declared)
    arrays = {tensor.name: _to_array(inputs[tensor.name], tensor) for tensor in declared}
    _check_bounds(_check_sizes({name: array.shape for name, array in arrays.items()}, declared), axes)
    return arrays


def check_shapes(
    shapes: Mapping[str, Any], declared: Sequence[Tensor], axes: Bounds
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Returns the shapes of all inputs, in the declared order, and the symbolic sizes by name.

    Raises:
        TypeError: `shapes` is no mapping, or a shape is no sequence of integers.
        ValueError: a shape is missing, of an unknown input, or of another rank or size, or symbolic sizes disagree.
    """
    if not isinstance(shapes, Mapping):
        raise TypeError(f"shapes: expected a mapping of names to shapes, got {type(shapes).__name__}; pass a dict")
    _check_names(shapes, declared)
    found = {tensor.name: _check_shape(shapes[tensor.name], tensor) for tensor in declared}
    sizes = _check_sizes(found, declared)
    _check_bounds(sizes, axes)
    return found, sizes


def check_path(path: Any, sites: Sequence[Site]) -> NDArray[np.int64]:
    """Returns the path as int64 [S]: -1 where the site draws, else the route to take.

    Raises:
        TypeError: it holds something else than integers.
        ValueError: it is of another length, or a route is out of range.
    """
    expected = f"path: expected {len(sites)} integers, one per site"
    if isinstance(path, str | bytes) or not isinstance(path, Iterable):
        raise TypeError(f"{expected}, got {type(path).__name__}; pass a list")
    values = np.asarray(path) if hasattr(path, "__array__") else list(path)
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iu":
            raise TypeError(f"{expected}, got an array of {values.dtype}; pass int64")
        if values.ndim != 1:
            raise ValueError(f"{expected}, got an array of shape {values.shape}; pass one dimension")
        values = values.tolist()
    if len(values) != len(sites):
        names = ", ".join(site.name for site in sites)
        raise ValueError(f"{expected}, got {len(values)}; pass a route or -1 (draw) for each of {names}")
    return np.array(
        [_check_route(value, site, i) for i, (value, site) in enumerate(zip(values, sites, strict=True))], np.int64
    )


def check_count(value: object, name: str) -> int:
    """Returns the value as a Python int >= 1.

    Raises:
        TypeError: it is no integer (a bool is none).
        ValueError: it is below 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer >= 1, got {type(value).__name__} {value!r}; pass an int")
    if value < 1:
        raise ValueError(f"{name}: expected an integer >= 1, got {value}; pass at least 1")
    return int(value)


def _check_route(value: object, site: Site, index: int) -> int:
    where = f"path[{index}], site {site.name!r}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        route = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: expected an integer, got {type(value).__name__} {value!r}; pass an int") from None
    if not -1 <= route < len(site.branches):
        branches = ", ".join(f"{k} {name}" for k, name in enumerate(site.branches))
        last = len(site.branches) - 1
        raise ValueError(f"{where}: expected -1 (draw) or 0..{last}, got {route}; its branches are {branches}")
    return route


def _check_names(inputs: Mapping[str, Any], declared: Sequence[Tensor]) -> None:
    names = [tensor.name for tensor in declared]
    missing = [name for name in names if name not in inputs]
    unknown = [name for name in inputs if name not in names]
    listed = ", ".join(map(str, declared)) or "no inputs"
    for name in unknown:
        if name in RESERVED:
            raise ValueError(f"input {name!r}: expected the model's own inputs ({listed}), got one that the runtime "
                             "feeds; pass seed= or path= instead")  # fmt: skip
        near = difflib.get_close_matches(str(name), missing or names, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "remove it"
        raise ValueError(f"input {name!r}: expected only {listed}, got an unknown name; {advice}")
    if missing:
        got = ", ".join(map(repr, inputs)) or "none"
        raise ValueError(f"input {missing[0]!r}: expected {listed}, got {got}; pass the missing {', '.join(missing)}")


def _check_shape(shape: Any, tensor: Tensor) -> tuple[int, ...]:
    where = f"input {tensor.name!r}"
    try:
        if isinstance(shape, str | bytes) or any(isinstance(size, bool | np.bool_) for size in shape):
            raise TypeError
        found = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"{where}: expected a shape of integers, got {shape!r}; pass a tuple such as (8, 16)") from None
    if any(size < 0 for size in found):
        raise ValueError(f"{where}: expected sizes >= 0, got {found}; pass a tuple such as (8, 16)")
    return found


def _to_array(value: Any, tensor: Tensor) -> NDArray[Any]:
    dtype = np.dtype(tensor.dtype)
    where = f"input {tensor.name!r}"
    given = hasattr(value, "__array__")
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # ragged lists, tensors on a GPU
        raise TypeError(
            f"{where}: expected {tensor.dtype} numbers, got {type(value).__name__} ({error}); pass a numpy array"
        ) from error
    if found.dtype != dtype:
        if given:
            raise TypeError(
                f"{where}: expected {tensor.dtype}, got {found.dtype}; convert it yourself: .astype({tensor.dtype!r})"
            )
        found = _from_python(found, dtype, where)
    return np.asarray(found, order="C")


def _from_python(found: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Returns Python numbers, as numpy understood them, in the declared dtype."""
    takes = {"b": "b", "i": "iu", "u": "iu", "f": "fiu"}[dtype.kind]
    if found.size and found.dtype.kind not in takes:
        raise TypeError(f"{where}: expected {dtype}, got Python values that numpy reads as {found.dtype}; pass {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = found.astype(dtype)
    if found.dtype.kind == "f":
        kept = np.isfinite(cast) == np.isfinite(found)
    else:  # as Python's numbers, which compare exactly whatever their types
        pairs = zip(cast.ravel().tolist(), found.ravel().tolist(), strict=True)
        kept = np.array([a == b for a, b in pairs], bool).reshape(found.shape)
    if not np.all(kept):
        raise ValueError(
            f"{where}: expected numbers that {dtype} holds, got {found[~kept].flat[0]}; pass another dtype"
        )
    return cast


def _check_bounds(sizes: Mapping[str, int], axes: Bounds) -> None:
    for name, size in sizes.items():
        least, most = axes.get(name, (None, None))
        if (least is not None and size < least) or (most is not None and size > most):
            allowed = " and ".join(
                [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
            )
            raise ValueError(f"inputs: expected {name} of {allowed}, got {size}; the model has no other sizes")


def _check_sizes(shapes: Mapping[str, tuple[int, ...]], declared: Iterable[Tensor]) -> dict[str, int]:
    """Returns the symbolic sizes by name."""
    bound: dict[str, tuple[int, str]] = {}
    for tensor in declared:
        shape = shapes[tensor.name]
        where = f"input {tensor.name!r}"
        expected = f"[{', '.join(map(str, tensor.shape))}]"
        if len(shape) != len(tensor.shape):
            raise ValueError(f"{where}: expected rank {len(tensor.shape)}, {expected}, got shape {shape}; reshape it")
        for axis, (size, wanted) in enumerate(zip(shape, tensor.shape, strict=True)):
            if isinstance(wanted, int):
                if size != wanted:
                    raise ValueError(
                        f"{where}: expected size {wanted} on axis {axis} of {expected}, got {size}; reshape it"
                    )
                continue
            first, other = bound.setdefault(wanted, (size, tensor.name))
            if size != first:
                raise ValueError(
                    f"{where}: expected {wanted} = {first} on axis {axis} of {expected}, as in input {other!r}, "
                    f"got {size}; pass inputs of one {wanted}"
                )
    return {name: size for name, (size, _) in bound.items()}
