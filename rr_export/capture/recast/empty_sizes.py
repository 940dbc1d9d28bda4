"""ONNX Runtime 1.32 ends the whole process where LSTM gets an empty batch, or GRU that or no steps.

Sizes of dynamic axes get a bound in the manifest. A layer whose sizes come from the input's values, or can be nothing
by arithmetic, gets a row or step of zeros where there is none:

before:  y, h = GRU(x [T, N, ..])
after:   y, h = GRU(Pad(x) [max(T, 1), max(N, 1), ..]); y, h = y[:T, :, :N], h[:, :N]
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rr_export.capture.dynamic_axes import Bounds
from rr_export.capture.recast.weight_layout import WeightLayout


def dynamic_sizes(model: ir.Model) -> set[str]:
    """Returns the names of the sizes of the model's inputs."""
    sizes = (size for value in model.graph.inputs for size in value.shape or ())
    return {str(size.value) for size in sizes if isinstance(size, ir.SymbolicDim) and str(size.value).isidentifier()}


def needed(size: int | ir.SymbolicDim, axes: Collection[str]) -> set[str] | None:
    """Returns the axes of which none may be empty so that this size is not; None where it may be all the same.

    Args:
        size: a size, or an expression of sizes such as ``2*batch``.
        axes: the names of the dynamic axes.
    """
    if isinstance(size, int):
        return set() if size else None
    tree = ast.parse(str(size.value), mode="eval")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names if names <= set(axes) and _only_grows(tree.body) else None


def _only_grows(size: ast.expr) -> bool:
    """Whether this is made of names and numbers of at least 1 by sums and products."""
    if isinstance(size, ast.BinOp):
        return isinstance(size.op, ast.Add | ast.Mult) and _only_grows(size.left) and _only_grows(size.right)
    return isinstance(size, ast.Name) or (
        isinstance(size, ast.Constant) and isinstance(size.value, int) and size.value >= 1
    )


def at_least_one(bounds: Mapping[str, Bounds], axes: Collection[str]) -> dict[str, Bounds]:
    """Returns the bounds with no size below 1 for these axes."""
    least = {name: (max(bounds.get(name, (None, None))[0] or 0, 1), bounds.get(name, (None, None))[1]) for name in axes}
    return {**bounds, **least}


class Padding:
    """Zeros behind steps and rows of a layer that may have none.

    Args:
        layout: makes the nodes.
        x: [T, N, ..].
    """

    def __init__(self, layout: WeightLayout, x: ir.Value) -> None:
        self._layout = layout
        self._sizes = layout.op("Shape", [x], start=0, end=2)
        missing = layout.op("Sub", [layout.constant(np.array([1, 1])), self._sizes])
        self._missing = layout.op("Max", [missing, layout.constant(np.array([0, 0]))])

    def padded(self, value: ir.Value, axes: str, fill: int = 0) -> ir.Value:
        """Returns a value with at least one step (``T``) and row (``N``) at the place of these letters in ``axes``."""
        picked = np.array(["TN".index(letter) for letter in axes if letter in "TN"])
        places = np.array([i for i, letter in enumerate(axes) if letter in "TN"])
        after = self._layout.op("Gather", [self._missing, self._layout.constant(picked)])
        pads = self._layout.op("Concat", [self._layout.constant(np.zeros_like(places)), after], axis=0)
        assert value.dtype is not None
        filled = self._layout.constant(np.array(fill, value.dtype.numpy()))
        result = self._layout.op("Pad", [value, pads, filled, self._layout.constant(places)])
        result.type = value.type
        return result

    def cut(self, results: Sequence[ir.Value]) -> list[ir.Value]:
        """Returns output [T, directions, N, ..] and states [directions, N, ..] as long as the layer's input was."""
        output, *states = results
        whole = self._sliced(output, self._sizes, [0, 2])
        rows = self._layout.op("Gather", [self._sizes, self._layout.constant(np.array([1]))])
        return [whole, *(self._sliced(state, rows, [1]) for state in states)]

    def _sliced(self, value: ir.Value, ends: ir.Value, axes: Sequence[int]) -> ir.Value:
        places = np.array(axes)
        starts = self._layout.constant(np.zeros_like(places))
        return self._layout.op("Slice", [value, starts, ends, self._layout.constant(places)])
