"""What decides, at the top of the graph: the inputs of the interface -> draws -> latent routes -> the path taken."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rr_export.errors import LoweringError
from rr_export.laws.plan import Plan
from rr_export.lowering.builder import Builder
from rr_export.lowering.generator import free_bits, host_draws, seed_bits, splitmix_draws
from rr_export.lowering.reach import LATENT, path_taken
from rr_export.lowering.routes import decode_routes

INTERFACES = ("explicit", "host", "standalone")
SEED, PATH, DRAWS, TAKEN = "rr_seed", "rr_path", "rr_draws", "rr_path_taken"
RESERVED = (SEED, PATH, DRAWS, TAKEN, LATENT)
GATE = "rr_gate."  # begins the names of inputs that are conditions


def undecided_routes(builder: Builder, plan: Plan, interface: str) -> ir.Value:
    """Returns the latent routes, int64 [S], of a plan with gates: -1 where none is asked for and the input decides.

    Raises:
        LoweringError: runs of this interface take no path, so that no gate could be told its route.
    """
    if interface == "standalone":
        raise LoweringError(
            "standalone: expected sites whose routes do not depend on the input, got a gate; use the "
            "interface 'explicit'"
        )
    return latent_routes(builder, plan, interface)


def decide(builder: Builder, plan: Plan, interface: str) -> ir.Value:
    """Returns the path taken, int64 [S]; the graph has the inputs and outputs that the interface adds.

    Raises:
        LoweringError: a standalone file has no numeric input.
    """
    taken = path_taken(builder, plan, latent_routes(builder, plan, interface), TAKEN)
    if interface != "standalone":
        builder.graph.outputs.append(taken)
    return taken


def latent_routes(builder: Builder, plan: Plan, interface: str) -> ir.Value:
    """Returns the latent routes, int64 [S], from the inputs that this interface has."""
    count = len(plan.sites)
    if interface == "standalone":
        draws = splitmix_draws(builder, free_bits(builder, _numeric_value(builder)), DRAWS, count)
        return decode_routes(builder, plan, draws, None)
    if interface == "host":
        draws = host_draws(builder, DRAWS, count)
        path = builder.graph_input(PATH, np.int64, (count,))
        return decode_routes(builder, plan, draws, path)
    seed = builder.graph_input(SEED, np.int64, ())
    path = builder.graph_input(PATH, np.int64, (count,))
    repeats = -(-6 // count)
    source = builder.op("Concat", [path] * repeats, axis=0) if repeats > 1 else path
    bits = seed_bits(builder, seed, free_bits(builder, source, count * repeats))
    draws = splitmix_draws(builder, bits, DRAWS, count)
    return decode_routes(builder, plan, draws, path)


def _numeric_value(builder: Builder) -> ir.Value:
    """Seven numbers, float32: the first element of the first numeric input, where it is not empty, and zeros."""
    numeric = [v for v in builder.graph.inputs if v.dtype is not None and v.dtype not in (ir.DataType.STRING,)]
    if not numeric:
        raise LoweringError(
            "standalone: expected a model with a numeric input to key its random node, got none; use the interface "
            "'explicit'"
        )
    flat = builder.op("Reshape", [numeric[0], builder.constant("flat", np.array([-1]))])
    zero, one = builder.constant("zero", np.array([0])), builder.constant("one", np.array([1]))
    cast = builder.op("Cast", [builder.op("Slice", [flat, zero, one])], to=ir.DataType.FLOAT)
    padded = builder.op("Concat", [cast, builder.constant("zeros", np.zeros(7, np.float32))], axis=0)
    return builder.op("Slice", [padded, zero, builder.constant("seven", np.array([7]))])
