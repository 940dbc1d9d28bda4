"""Symbolic sizes -> fixed ones, for engines that want static shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.passes.simplify import simplify
from rr_runtime.manifest import symbols


def check_sizes(manifest: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Raises a ValueError where a size is of no axis of the inputs, below 1, or out of the axis's bounds."""
    if not isinstance(sizes, Mapping):
        raise TypeError(f"sizes: expected a mapping of axes to sizes, got {type(sizes).__name__}; pass {{'batch': 1}}")
    axes = symbolic_axes(manifest)
    for name, size in sizes.items():
        where = f"sizes: {name!r}"
        if name not in axes:
            known = ", ".join(axes) or "none"
            raise ValueError(f"{where}: expected a symbolic axis of the inputs ({known}), got no such; name another")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{where}: expected a whole number of at least 1, got {size!r}; pass a size")
        least, most = manifest.get("axes", {}).get(name, (None, None))
        if (least is not None and size < least) or (most is not None and size > most):
            raise ValueError(f"{where}: expected {least or 1} to {most or 'any'}, got {size}; the model has no others")


def symbolic_axes(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the names of the symbolic sizes of the inputs, each once; those in expressions too."""
    return list(dict.fromkeys(name for row in manifest["inputs"] for size in row["shape"] for name in symbols(size)))


def fixed_rows(rows: Iterable[Mapping[str, Any]], sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    """Returns the manifest's inputs or outputs with the sizes put in, also into expressions of them."""
    return [{**row, "shape": fixed_shape(row["shape"], sizes)} for row in rows]


def fix_sizes(model: ir.Model, sizes: Mapping[str, int]) -> bool:
    """The model has these sizes only, and arithmetic on them is folded; returns whether anything changed."""
    if not sizes:
        return False
    graph = model.graph
    values = [*graph.inputs, *(v for node in ir.traversal.RecursiveGraphIterator(graph) for v in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape(fixed_shape([d if isinstance(d, int) else d.value for d in value.shape], sizes))
    simplify(model)
    return True


def fixed_shape(shape: Sequence[int | str | None], sizes: Mapping[str, int]) -> list[int | str | None]:
    """Returns the shape with the sizes put in, also into expressions of them."""
    return [_evaluate(size, sizes) for size in shape]


def cut_to_sizes(
    inputs: Mapping[str, NDArray[Any]], rows: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]
) -> list[dict[str, NDArray[Any]]]:
    """Returns the inputs cut into pieces of the fixed sizes, all of them; the last piece starts again at the first.

    Args:
        inputs: arrays by input name.
        rows: the shape of each input, as the manifest says it.
        sizes: sizes of symbolic axes, by name.
    """
    wanted = {name: fixed_shape(shape, sizes) for name, shape in rows.items()}
    axes = [
        (name, axis, size) for name, shape in wanted.items() for axis, size in enumerate(shape) if isinstance(size, int)
    ]
    pieces = max((-(-inputs[name].shape[axis] // size) for name, axis, size in axes if size), default=1)
    found: list[dict[str, NDArray[Any]]] = []
    for piece in range(pieces):
        cut = dict(inputs)
        for name, axis, size in axes:
            cut[name] = np.take(cut[name], (piece * size + np.arange(size)) % inputs[name].shape[axis], axis=axis)
        found.append(cut)
    return found


def _evaluate(size: int | str | None, sizes: Mapping[str, int]) -> int | str | None:
    if not isinstance(size, str):
        return size
    found = ir.SymbolicDim(size).evaluate(sizes)
    return found if isinstance(found, int) else size
