"""Seed -> draws inside the graph: SplitMix64 on the vector of all sites (Steele, Lea, Flood, OOPSLA 2014).

``key = mix64(seed)``; site i: ``z = mix64(key + (i + 1) * GOLDEN)`` modulo 2^64; ``draw = float32(z >> 40) * 2^-24``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rr_export.lowering.builder import Builder

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def free_bits(builder: Builder, source: ir.Value, length: int = 7) -> ir.Value:
    """Returns uint64 [1] from the last three numbers of the graph's only random node.

    Args:
        builder: where the nodes go.
        source: a value with ``length`` >= 6 elements that depends on a required input, so that no optimiser
            can fold the node.
        length: how many.
    """
    noise = builder.op("RandomUniformLike", [source], dtype=ir.DataType.FLOAT, low=0.0, high=1.0)
    last = builder.op("Gather", [noise, builder.constant("last", np.arange(length - 3, length))], axis=0)
    scaled = builder.op("Mul", [last, builder.constant("two_24", np.array(2.0**24, np.float32))])
    whole = builder.op("Cast", [scaled], to=ir.DataType.UINT64)
    shifted = builder.op(
        "BitShift", [whole, builder.constant("lanes", np.array([0, 24, 48], np.uint64))], direction="LEFT"
    )
    low, middle, high = builder.ops("Split", [shifted], 3, num_outputs=3, axis=0)
    return builder.op("Add", [builder.op("Add", [low, middle]), high])


def seed_bits(builder: Builder, seed: ir.Value, free: ir.Value) -> ir.Value:
    """Returns uint64 [1]: the seed where it is >= 0, else the random node's bits."""
    zero = builder.constant("no_seed", np.array(0, np.int64))
    is_free = builder.op("Cast", [builder.op("Less", [seed, zero])], to=ir.DataType.UINT64)
    given = builder.op("Cast", [builder.op("Max", [seed, zero])], to=ir.DataType.UINT64)
    return builder.op("Add", [builder.op("Mul", [is_free, free]), given])


def splitmix_draws(builder: Builder, bits: ir.Value, count: int) -> ir.Value:
    """Returns the draws of all sites, float32 [count] in [0, 1), from uint64 [1]."""
    steps = np.array([(i + 1) * GOLDEN % 2**64 for i in range(count)], dtype=np.uint64)
    state = builder.op("Add", [_mix64(builder, bits), builder.constant("steps", steps)])
    top = _shift(builder, _mix64(builder, state), 40)
    scale = builder.constant("two_minus_24", np.array(2.0**-24, np.float32))
    return builder.op("Mul", [builder.op("Cast", [top], to=ir.DataType.FLOAT), scale])


def host_draws(builder: Builder, name: str, count: int) -> ir.Value:
    """Returns the draws of all sites that the runtime feeds, float32 [count]."""
    return builder.graph_input(name, np.float32, (count,))


def _mix64(builder: Builder, z: ir.Value) -> ir.Value:
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        mixed = builder.op("BitwiseXor", [z, _shift(builder, z, shift)])
        z = builder.op("Mul", [mixed, builder.constant("mix", np.array(factor, np.uint64))])
    return builder.op("BitwiseXor", [z, _shift(builder, z, 31)])


def _shift(builder: Builder, z: ir.Value, bits: int) -> ir.Value:
    return builder.op("BitShift", [z, builder.constant("shift", np.array(bits, np.uint64))], direction="RIGHT")
