"""Seed -> draws inside the graph: SplitMix64 on the vector of all sites (Steele, Lea, Flood, OOPSLA 2014).

``key = mix64(seed)``; site i: ``z = mix64(key + (i + 1) * GOLDEN)`` modulo 2^64; ``draw = float32(z >> 40) * 2^-24``.
The graph keeps the whole number ``z >> 40``: quantisers and converters to half precision rewrite floating point only.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rr_export.lowering.builder import Builder

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def free_bits(builder: Builder, source: ir.Value, length: int = 7) -> ir.Value:
    """Returns int64 [1], >= 0, from the last three numbers of the graph's only random node.

    Each is a whole number of 24 bits; they are added 20 and 18 bits apart, so that the sum stays below 2^63. The node
    has double precision, as converters to half precision rewrite float32.

    Args:
        builder: where the nodes go.
        source: a value with ``length`` >= 6 elements that depends on a required input, so that no optimiser
            can fold the node.
        length: how many.
    """
    noise = builder.op("RandomUniformLike", [source], dtype=ir.DataType.DOUBLE, low=0.0, high=2.0**24)
    whole = builder.op("Cast", [noise], to=ir.DataType.INT64)
    lanes = builder.constant("lanes", np.array([0] * (length - 3) + [1, 2**20, 2**38]))
    return builder.op("ReduceSum", [builder.op("Mul", [whole, lanes])], keepdims=1)


def seed_bits(builder: Builder, seed: ir.Value, free: ir.Value) -> ir.Value:
    """Returns int64 [1]: the seed where it is >= 0, else the random node's bits."""
    zero = builder.constant("no_seed", np.array(0, np.int64))
    return builder.op("Where", [builder.op("Less", [seed, zero]), free, seed])


def splitmix_draws(builder: Builder, bits: ir.Value, name: str, count: int) -> ir.Value:
    """Returns the draws of all sites as whole numbers, int64 [count] in [0, 2^24), from int64 [1], >= 0.

    The value has this name; the draw is 2^-24 times its number.
    """
    steps = np.array([(i + 1) * GOLDEN % 2**64 for i in range(count)], dtype=np.uint64)
    mixed = _mix_factors(builder, builder.op("Cast", [bits], to=ir.DataType.UINT64))
    key = _xor_shift(builder, mixed, 31)
    # mix64 ends with z ^ (z >> 31), which leaves the upper 31 bits of z, and so these 24, as they are
    state = _mix_factors(builder, builder.op("Add", [key, builder.constant("steps", steps)]))
    draws = builder.op("Cast", [_shift(builder, state, 40)], to=ir.DataType.INT64)
    draws.name, draws.type, draws.shape = name, ir.TensorType(ir.DataType.INT64), ir.Shape([count])
    return draws


def host_draws(builder: Builder, name: str, count: int) -> ir.Value:
    """Returns the draws of all sites that the runtime feeds, float32 [count]."""
    return builder.graph_input(name, np.float32, (count,))


def _mix_factors(builder: Builder, z: ir.Value) -> ir.Value:
    """The steps of mix64 but its last."""
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        z = builder.op("Mul", [_xor_shift(builder, z, shift), builder.constant("mix", np.array(factor, np.uint64))])
    return z


def _xor_shift(builder: Builder, z: ir.Value, bits: int) -> ir.Value:
    return builder.op("BitwiseXor", [z, _shift(builder, z, bits)])


def _shift(builder: Builder, z: ir.Value, bits: int) -> ir.Value:
    return builder.op("BitShift", [z, builder.constant("shift", np.array(bits, np.uint64))], direction="RIGHT")
