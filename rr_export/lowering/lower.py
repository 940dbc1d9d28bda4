"""rr:: markers -> standard ONNX.

The steps, in order: what branches of one decision hand to each other is computed where it is read (:mod:`gathering`);
the flat graph's nodes are placed in the branches they were captured in (:mod:`placement`);
what decides is computed once at the top (:mod:`prelude`: the draws by :mod:`generator`, the latent routes by
:mod:`routes`, the path taken by :mod:`reach`); every marker becomes a tree of ``If`` whose bodies hold what was placed
there (:mod:`sink`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.capture.origins import origin_of
from rr_export.errors import LoweringError
from rr_export.lowering.builder import Builder
from rr_export.lowering.gated import decide_by_input
from rr_export.lowering.gathering import gather
from rr_export.lowering.placement import MARKERS, place
from rr_export.lowering.prelude import GATE, INTERFACES, RESERVED, decide, undecided_routes
from rr_export.lowering.sink import AT_LEAST, at_least, conditions, sink
from rr_export.passes.unique_names import name_uniquely

if TYPE_CHECKING:
    from rr_export.capture.captured_model import Captured


def lower(captured: Captured, *, interface: str = "explicit") -> ir.Model:
    """Returns the captured model as standard ONNX with the graph contract of ``interface``.

    The captured graph is consumed. A model without sites comes back as it is.

    Raises:
        LoweringError: a value leaves a branch other than as its result, a name of the contract is taken, or a
            standalone file would decide nothing.
        ValueError: the interface is unknown.
    """
    if interface not in INTERFACES:
        raise ValueError(f"interface: expected one of {', '.join(INTERFACES)}, got {interface!r}; choose one")
    model, plan = captured.model, captured.plan
    ir_passes.InlinePass()(model)
    if captured.calls or plan.sites:
        if plan.sites:
            _check_names(model.graph)
        _check_deterministic(model.graph)
        captured = gather(model.graph, captured)
        builder = Builder(model.graph)
        undecided = undecided_routes(builder, plan, interface) if plan.gates else None
        if undecided is not None:
            decide_by_input(model.graph, captured, builder, undecided)
        placement = place(model.graph, captured)
        decided = [call for call in placement.selects if captured.calls[call].site >= 0]
        used = {(captured.calls[call].site, m) for call in decided for m in captured.firsts(call)[1:]}
        used |= {at_least(n) for n in placement.scopes if n.domain == MARKERS and n.op_type == AT_LEAST}
        if plan.sites and not used and interface == "standalone":
            raise LoweringError(
                "standalone: expected a model with a site whose route decides something, got sites of one branch, or "
                "whose results nobody reads; use the interface 'explicit'"
            )
        routes = undecided if undecided is not None or not plan.sites else decide(builder, plan, interface)
        told = sorted(key for key in used if key[0] not in plan.gates)
        gates = conditions(builder, plan, told, routes) if routes is not None else {}
        sink(model.graph, captured, placement, builder.nodes, gates)
    _strip(model)
    name_uniquely(model)
    return model


def _check_names(graph: ir.Graph) -> None:
    for value in (*graph.inputs, *graph.outputs):
        if value.name in RESERVED or str(value.name).startswith(GATE):
            raise LoweringError(
                f"export: expected names other than {', '.join(RESERVED)} and {GATE}..., got an input or output called "
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
            raise LoweringError(
                f"{origin_of(node)}: expected a model whose only randomness is its sites, got {node.op_type}; make it "
                "an input of the model"
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
