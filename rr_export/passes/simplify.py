"""Constant folding, dead code and the exporter's detours: what every ONNX export goes through, after lowering.

before:  Constant -> CastLike -> Add, Identity, Reshape(Reshape(x)), unused weights
after:   folded, removed or merged; random node, draws, routes and every ``If`` as they were
"""

from __future__ import annotations

import logging
import warnings

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
from onnxscript import optimizer

from rr_export.passes.unique_names import name_uniquely
from rr_export.quiet_loggers import only_errors

logger = logging.getLogger(__name__)

# onnxscript 0.7 folds with onnx's reference, whose GatherElements fails on sizes that differ: the node stays as it is
_CHATTY = "onnxscript.optimizer._constant_folding"
# onnx-ir 1.1 warns of every initializer that a branch returns as it is
_CHATTY_TOO = "onnx_ir.passes.common.initializer_deduplication"


def simplify(model: ir.Model) -> bool:
    """The model computes the same with fewer nodes; returns whether anything changed."""
    before = sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))
    with warnings.catch_warnings(), only_errors(_CHATTY), only_errors(_CHATTY_TOO):
        # onnxscript 0.7 warns about its own deprecated calls
        warnings.simplefilter("ignore")
        optimizer.optimize_ir(model)
    ir_passes.RemoveUnusedNodesPass()(model)
    name_uniquely(model)
    after = sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))
    logger.debug("simplify: %d nodes before, %d after", before, after)
    return after != before
