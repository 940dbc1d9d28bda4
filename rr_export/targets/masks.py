"""Which values may carry a mask (-inf, -10000 or the least float32), whether the calibration data shows one or not.

before:  Where(mask, 0, -inf) -> Add(scores) -> Softmax        (calibrated without padding, the mask is 0 everywhere)
after:   the outputs of Where and Add are known to be wide, so both and the Softmax stay float32
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_runtime.segment_program import Run, Step, walk

# 8 bits over a wider range have steps larger than all other values.
WIDEST = 8192.0

# What they give is small, or no float, whatever they read.
BOUNDED = frozenset(
    {
        *("Softmax", "Sigmoid", "HardSigmoid", "Tanh", "Exp", "Clip"),
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization"),
        *("Shape", "Size", "ArgMax", "ArgMin", "IsNaN", "IsInf", "Not", "And", "Or"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"),
    }
)

Node = tuple[str, Sequence[str], Sequence[str]]  # an operator, what it reads, what it writes


def is_narrow(values: NDArray[Any]) -> bool:
    """Returns whether all magnitudes are at most ``WIDEST``; False where one is not a number."""
    return bool(np.max(np.abs(values), initial=0.0) <= WIDEST)


def spread(nodes: Iterable[Node], wide: Collection[str]) -> set[str]:
    """Returns the wide values, and all that is made of them by operators whose results are not bounded.

    Args:
        nodes: sorted topologically.
        wide: the names of values that are known to be wide.
    """
    found = set(wide)
    for operator, inputs, outputs in nodes:
        if operator not in BOUNDED and found & set(inputs):
            found |= {name for name in outputs if name}
    return found


def wide_borders(program: Sequence[Step], models: Mapping[str, ir.Model]) -> set[str]:
    """Returns the values between segments that may carry a mask.

    Args:
        program: the steps that walk a path through the segments.
        models: the segments by file name.
    """
    found: set[str] = set()
    for step, _ in walk(program):
        if isinstance(step, Run):
            found |= _wide_values(models[step.model], found & set(step.inputs)) & set(step.outputs)
            continue
        for branch in step.branches:
            found |= {new for new, old in zip(step.outputs, branch.results, strict=True) if old in found}
    return found


def _wide_values(model: ir.Model, wide: Collection[str]) -> set[str]:
    """Returns the values of a segment that may be wide, by its constants and by those of its inputs that are."""
    found = set(wide)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype.is_floating_point() and not is_narrow(tensor.numpy()):
            found.add(value.name or "")
    for node in model.graph:
        filled = node.attributes.get("value") if node.op_type == "ConstantOfShape" else None
        if filled is not None and not is_narrow(np.asarray(filled.as_tensor().numpy(), np.float64)):
            found.update(v.name or "" for v in node.outputs)
    rows = ((n.op_type, [v.name or "" for v in n.inputs if v is not None], _names(n.outputs)) for n in model.graph)
    return spread(rows, found)


def _names(values: Sequence[ir.Value]) -> list[str]:
    return [value.name or "" for value in values]
