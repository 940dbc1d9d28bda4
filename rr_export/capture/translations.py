"""Operators whose ONNX form in torch's exporter does not compute what they do, and the form that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18 as op


def squeeze_axis(self: Any, dim: int) -> Any:
    """``aten.squeeze.dim``: an axis whose size is not 1 stays, where ONNX's ``Squeeze`` fails."""
    return squeeze_axes(self, [dim])


def squeeze_axes(self: Any, dim: Sequence[int]) -> Any:
    """``aten.squeeze.dims``: of these axes those of size 1 go."""
    gone = [axis for axis in dim if len(self.shape) and self.shape[axis] == 1]
    return op.Squeeze(self, op.Constant(value_ints=gone)) if gone else op.Identity(self)  # type: ignore[arg-type]


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.squeeze.dim: squeeze_axis,
    torch.ops.aten.squeeze.dims: squeeze_axes,
}
