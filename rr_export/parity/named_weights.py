"""Weights of one name in two files, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from rr_export.parity.pairing import ROUTING
from rr_export.report.report import Check

SHOWN = 20  # names in a report


def weights_in(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Yields the weights of a file with their names, those in bodies included, without what decides."""
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            if value.const_value is not None and not name.startswith(ROUTING):
                yield name, value.const_value


def check_named_weights(original: ir.Model, rewritten: ir.Model) -> Check:
    """Compares weights of one name, type and shape in two files; a tool may change them, so that values decide."""
    stored = dict(weights_in(rewritten))
    pairs = [(n, t, stored[n]) for n, t in weights_in(original) if n in stored]
    alike = [(n, t, other) for n, t, other in pairs if t.dtype == other.dtype and t.shape == other.shape]
    differing = [name for name, tensor, other in alike if tensor.tobytes() != other.tobytes()]
    told = f"{len(alike)} weights have one name and type in both files"
    if differing:
        names = ", ".join(differing[:SHOWN]) + (" ..." if len(differing) > SHOWN else "")
        told += f", {len(differing)} of them other numbers ({names}); compare on your own inputs (--data)"
    figures = {"compared": len(alike), "differing": differing}
    return Check("weights", None if differing else True, told + ("" if differing else ", bit for bit"), (), figures)
