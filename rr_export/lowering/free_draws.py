"""The random node of a file, proven: every draw can come of it, each as often as any other.

Frequencies cannot show that: a node that draws one of 16 numbers, or the lower half of its range, looks random after
SplitMix64. So the node is replaced by an input, and what becomes of the ends of its range, and of numbers
between them, is compared with section 7 of SPEC.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.lowering.deciding_slice import cut_out, find_value, open_slice
from rr_export.lowering.prelude import DRAWS, SEED
from rr_runtime.draws import draws

LAST = 2**24 - 1  # of the whole numbers that one number of the node is cut to
OTHERS = 16  # numbers between the ends


def free_draw_failures(model: ir.Model, interface: str, count: int) -> list[str]:
    """Returns one sentence per way in which the draws are not made of the random node's numbers as they should be.

    Files from before draws were whole numbers have nothing to compare with.

    Args:
        model: a model whose main graph has a value ``rr_draws``; it stays as it is.
        interface: which inputs it has.
        count: how many sites.

    Raises:
        KeyError: the model has no such value.
    """
    drawn = find_value(model.graph, DRAWS) if interface in ("explicit", "standalone") else None
    node = None if drawn is None else _random_node(drawn)
    if drawn is None or node is None or drawn.dtype not in (None, ir.DataType.INT64):
        return []
    if node.op_type != "RandomUniformLike":
        return [f"random node: expected RandomUniformLike, got {node.op_type}"]
    dtype = ir.DataType(node.attributes["dtype"].as_int() if "dtype" in node.attributes else ir.DataType.FLOAT)
    if dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return [f"random node: expected float32 or double, got {dtype}"]
    low, high = (node.attributes[k].as_float() if k in node.attributes else v for k, v in (("low", 0.0), ("high", 1.0)))
    noise = node.outputs[0]
    noise.type = noise.type or ir.TensorType(dtype)
    inputs = [noise.name or "", *([SEED] if interface == "explicit" else [])]
    session = open_slice(cut_out(model, inputs, [DRAWS]))
    failures = []
    for numbers in _numbers(7 if interface == "standalone" else count * -(-6 // count)):
        fraction = 0.75 if dtype == ir.DataType.DOUBLE else 0.0  # float32 has 24 bits
        fed = {inputs[0]: (low + (numbers + fraction) / 2**24 * (high - low)).astype(dtype.numpy())}
        if interface == "explicit":
            fed[SEED] = np.array(-1)
        bits = int(numbers[-3]) + (int(numbers[-2]) << 20) + (int(numbers[-1]) << 38)
        expected = (draws(bits, count) * 2.0**24).astype(np.int64)
        got = np.asarray(session.run([DRAWS], fed)[0])
        if not np.array_equal(expected, got):
            failures.append(
                f"random node: expected its last numbers {numbers[-3:].tolist()} of 0 to {LAST} to draw "
                f"{expected.tolist()} / 2^24, got {got.tolist()}"
            )
    return failures


def _random_node(drawn: ir.Value) -> ir.Node | None:
    """The node, upstream of the draws, that is random by its name."""
    todo, seen = [drawn], {drawn}
    while todo:
        producer = todo.pop().producer()
        if producer is None:
            continue
        if producer.op_type.startswith("Random"):
            return producer
        new = [v for v in producer.inputs if v is not None and v not in seen]
        seen.update(new)
        todo += new
    return None


def _numbers(length: int) -> Iterator[NDArray[np.int64]]:
    """What the node draws, cut to whole numbers: the ends of each of the last three alone, and others of two of them.

    Sums of these have at most 45 bits between the first and the last that is set: ONNX Runtime adds int64 in doubles.
    """
    rng = np.random.default_rng(0)
    for i in range(length - 3, length):
        for number in (0, 1, LAST - 1, LAST, *rng.integers(0, LAST, OTHERS)):
            alone = np.zeros(length, np.int64)
            alone[i] = number
            yield alone
    for first in (length - 3, length - 2):
        for _ in range(OTHERS):
            two = np.zeros(length, np.int64)
            two[first : first + 2] = rng.integers(0, LAST, 2, endpoint=True)
            yield two
