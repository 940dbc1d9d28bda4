"""rr:: markers -> standard ONNX.

The steps, in order: the flat graph's nodes are placed in the branches they were captured in (:mod:`placement`);
the draws (:mod:`generator`), the latent routes (:mod:`routes`) and the path taken (:mod:`reach`) are computed once
at the top; every marker becomes a tree of ``If`` whose bodies hold what was placed there (:mod:`sink`).
"""

from __future__ import annotations

import ast

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.capture import SCOPE_KEY, Captured
from rr_export.errors import LoweringError
from rr_export.lowering.builder import Builder
from rr_export.lowering.generator import free_bits, host_draws, seed_bits, splitmix_draws
from rr_export.lowering.placement import place
from rr_export.lowering.reach import LATENT, path_taken
from rr_export.lowering.routes import decode_routes
from rr_export.lowering.sink import conditions, sink
from rr_export.plan import Plan

INTERFACES = ("explicit", "host", "standalone")
SEED, PATH, DRAWS, TAKEN = "rr_seed", "rr_path", "rr_draws", "rr_path_taken"
RESERVED = (SEED, PATH, DRAWS, TAKEN, LATENT)

__all__ = ["DRAWS", "INTERFACES", "PATH", "RESERVED", "SCOPE_KEY", "SEED", "TAKEN", "lower"]


def lower(captured: Captured, *, interface: str = "explicit") -> ir.Model:
    """Returns the captured model as standard ONNX with the graph contract of ``interface``.

    The captured graph is consumed. A model without sites comes back as it is.

    Raises:
        LoweringError: a value leaves a branch other than as its result, or a name of the contract is taken.
        ValueError: the interface is unknown.
    """
    if interface not in INTERFACES:
        raise ValueError(f"interface: expected one of {', '.join(INTERFACES)}, got {interface!r}; choose one")
    model, plan = captured.model, captured.plan
    ir_passes.InlinePass()(model)
    if plan.sites:
        _check_names(model.graph)
        _check_deterministic(model.graph)
        placement = place(model.graph, captured)
        builder = Builder(model.graph)
        routes = _routing(builder, plan, interface)
        taken = path_taken(builder, plan, routes, TAKEN)
        if interface != "standalone":
            model.graph.outputs.append(taken)
        gates = conditions(builder, captured, placement, taken)
        sink(model.graph, captured, placement, builder.nodes, gates)
    _strip(model)
    ir_passes.NameFixPass()(model)
    return model


def _routing(builder: Builder, plan: Plan, interface: str) -> ir.Value:
    """The latent routes, int64 [S], from the inputs that this interface has."""
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


def _check_names(graph: ir.Graph) -> None:
    for value in (*graph.inputs, *graph.outputs):
        if value.name in RESERVED:
            raise LoweringError(
                f"export: expected names other than {', '.join(RESERVED)}, got an input or output called "
                f"{value.name!r}; rename it"
            )


def _check_deterministic(graph: ir.Graph) -> None:
    """Raises if the model draws random numbers beside its sites: their streams would be tied to the routes."""
    for node in ir.traversal.RecursiveGraphIterator(graph):
        if node.domain or any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values()):
            continue
        schema = onnx.defs.get_schema(node.op_type, graph.opset_imports[""])
        law = schema.node_determinism  # type: ignore[attr-defined]
        if law == onnx.defs.OpSchema.NodeDeterminism.NonDeterministic and not _is_idle(node):
            names = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
            place = next((n for n in names[-2::-1] if n and not n.startswith("@")), "the model")
            raise LoweringError(
                f"{place!r}: expected a model whose only randomness is its sites, got {node.op_type}; make it an input "
                "of the model"
            )


def _is_idle(node: ir.Node) -> bool:
    """Whether a Dropout only passes its input on."""
    training = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
    constant = None if training is None else ir.convenience.get_const_tensor(training)
    return node.op_type == "Dropout" and (training is None or (constant is not None and not constant.numpy().any()))


def _strip(model: ir.Model) -> None:
    """Drops what the exporter wrote for itself (it can outweigh the weights); rr_export's own keys stay."""
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.metadata_props.clear()
    for item in ir.traversal.RecursiveGraphIterator(model.graph):
        kept = {k: v for k, v in item.metadata_props.items() if k.startswith("rr.") and v}
        item.metadata_props.clear()
        item.metadata_props.update(kept)
        item.doc_string = None
        for value in item.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
