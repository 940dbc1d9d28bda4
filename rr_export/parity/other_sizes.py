"""Which other sizes of its dynamic axes a model is tried at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.lint.dataflow import COMPARISONS, Dataflow, Level
from rr_export.lowering.deciding_slice import open_slice, self_contained
from rr_export.parity.compare import Arrays
from rr_export.parity.subject import forcing_feeds, resize_array

Axes = Mapping[str, Sequence[int | str]]  # sizes of every input, symbolic ones by name
Bounds = Mapping[str, Sequence[int | None]]  # least and largest size by name

NEAR = (1, -1, 2, -2, 3)  # sizes to try, from that of the example
SMALL_SIZES = 16  # all sizes up to this one are tried
TIMES = (2, 4, 8, 16)  # sizes to try, times that of the example
LARGEST = 1024  # up to this size of an axis conditions on sizes are looked for
MOST_ELEMENTS = 2**20  # of an input


def named_sizes(axes: Axes, inputs: Arrays) -> dict[str, int]:
    """Returns the size that every named axis has in these inputs."""
    return {
        label: inputs[name].shape[i]
        for name, labels in axes.items()
        for i, label in enumerate(labels)
        if isinstance(label, str) and label.isidentifier()
    }


def near_sizes(size: int, bounds: Sequence[int | None]) -> list[int]:
    """Returns a few sizes around that of the example, within the bounds, nearest first."""
    return [size + step for step in NEAR if size + step >= max(1, bounds[0] or 0) and _within(size + step, bounds)]


def telling_sizes(size: int, bounds: Sequence[int | None], thresholds: Sequence[int]) -> list[int]:
    """Returns sizes that tell models apart: at each bound, on both sides of every threshold, and all that are small.

    Args:
        size: of the example.
        bounds: least and largest size.
        thresholds: sizes from which on something in the graph is another than below.
    """
    sides = [t + step for t in thresholds for step in (-1, 0, 1)]
    edges = [b for b in bounds if b is not None]
    found = [size + 1, size - 1, *edges, *sides, *range(SMALL_SIZES + 1), *(k * size for k in TIMES)]
    return [s for s in dict.fromkeys(found) if s != size and s >= 0 and _within(s, bounds)]


def _within(size: int, bounds: Sequence[int | None]) -> bool:
    least, most = bounds
    return size >= (least or 0) and (most is None or size <= most)


def size_thresholds(bundle: Bundle, inputs: Arrays) -> dict[str, list[int]]:
    """Returns, for every named axis, the sizes at which a condition on sizes alone changes in the main graph.

    The conditions are computed in a copy of the model, for one axis at a time.
    """
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    telling = bundle.model.clone()
    conditions = list(_conditions_on_sizes(Dataflow(telling)))
    if not conditions:
        return {}
    telling.graph.outputs.extend(conditions)
    session = open_slice(self_contained(telling))
    plan = bundle.plan
    given = forcing_feeds(bundle.manifest["interface"], inputs, plan.evenly().most_probable() if plan.sites else ())
    wanted = [v.name for v in session.get_inputs()]
    names = [v.name for v in conditions]

    def compute(label: str, size: int) -> list[NDArray[np.bool_]] | None:
        feeds = {n: resize_array(given[n], axes.get(n, ()), {label: size}) for n in wanted}
        if any(array.size > MOST_ELEMENTS for array in feeds.values()):
            return None
        try:
            return [np.asarray(v) for v in session.run(names, feeds)]
        except Exception:  # a size that the model does not take; onnxruntime's exceptions have no common base
            return None

    sizes = named_sizes(axes, inputs)
    return {label: list(_changes(lambda size, label=label: compute(label, size))) for label in sizes}  # type: ignore[misc]


def _conditions_on_sizes(flow: Dataflow) -> Iterator[ir.Value]:
    """The comparisons of the main graph that depend on sizes of dynamic axes, and on nothing else."""
    for node in flow.model.graph:
        value = node.outputs[0]
        origin = flow.origin(value)
        known = not origin.random and not origin.defaults and origin.level == Level.SHAPE
        if known and node.op_type in COMPARISONS and value.shape is not None and len(value.shape) == 0:
            yield value


def _changes(compute: Callable[[int], list[NDArray[np.bool_]] | None]) -> Iterator[int]:
    """The sizes at which what is computed changes, as far as steps of twice the size show it."""
    known: list[tuple[int, list[NDArray[np.bool_]]]] = []
    for size in (*range(SMALL_SIZES), *(2**k for k in range(4, LARGEST.bit_length()))):
        found = compute(size)
        if found is not None:
            known.append((size, found))
    for (low, before), (high, after) in itertools.pairwise(known):
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            if not np.array_equal(a, b):
                yield _first(low, high, lambda size, i=i, a=a: _gives(compute(size), i, a))  # type: ignore[misc]


def _first(low: int, high: int, as_before: Callable[[int], bool]) -> int:
    """The first size at which something is not as before, between one where it is and one where it is not."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if as_before(middle) else (low, middle)
    return high


def _gives(found: list[NDArray[np.bool_]] | None, place: int, before: NDArray[np.bool_]) -> bool:
    return found is not None and np.array_equal(found[place], before)
