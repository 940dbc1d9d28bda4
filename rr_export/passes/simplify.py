"""Constant folding, dead code and the exporter's detours: what every ONNX export goes through, after lowering.

before:  Constant -> CastLike -> Add, Identity, Reshape(Reshape(x)), unused weights
after:   folded, removed or merged; random node, draws, routes, every ``If``, and parts of weights that several nodes
         read, as they were
"""

from __future__ import annotations

import logging
import warnings

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.passes.quick_rules import quick_rules
from rr_export.passes.unique_names import name_uniquely
from rr_export.quiet_loggers import only_errors

logger = logging.getLogger(__name__)

# onnxscript 0.7 folds with onnx's reference, whose GatherElements fails on sizes that differ: the node stays as it is
_CHATTY = "onnxscript.optimizer._constant_folding"
# onnx-ir 1.1 warns of every initializer that a branch returns as it is
_CHATTY_TOO = "onnx_ir.passes.common.initializer_deduplication"


def simplify(model: ir.Model) -> bool:
    """The model computes the same with fewer nodes; returns whether anything changed."""
    from onnxscript import optimizer  # of half a second, where nothing is rewritten after all

    before = sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))
    with warnings.catch_warnings(), only_errors(_CHATTY), only_errors(_CHATTY_TOO), quick_rules():
        # onnxscript 0.7 warns about its own deprecated calls
        warnings.simplefilter("ignore")
        optimizer.optimize_ir(model, should_fold=_should_fold)
    ir_passes.RemoveUnusedNodesPass()(model)
    name_uniquely(model)
    after = sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))
    logger.debug("simplify: %d nodes before, %d after", before, after)
    return after != before


def _should_fold(node: ir.Node) -> bool | None:
    """False where a weight of which several nodes take parts would be stored again; None leaves it to the optimizer."""
    return False if any(v is not None and _is_parted(v) for v in node.inputs) else None


def _is_parted(value: ir.Value) -> bool:
    if not value.is_initializer() or value.dtype is None or not value.dtype.is_floating_point():
        return False
    users = [usage.node.op_type for usage in value.uses()]
    return len(users) > 1 and any(user in ("Slice", "Split") for user in users)
