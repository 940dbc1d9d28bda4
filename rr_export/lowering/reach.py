"""Latent routes -> the path taken: -1 where no call of a site is reached."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rr_export.lowering.builder import Builder
from rr_export.plan import Plan

LATENT = "rr_routes"  # the latent routes, where they differ from the path taken


def path_taken(builder: Builder, plan: Plan, routes: ir.Value, name: str) -> ir.Value:
    """Returns the path taken, int64 [S], as the value ``name``.

    A site is reached when, for one of its calls, all enclosing (site, branch) pairs are taken. With the
    distinct pairs as columns and the distinct calls as rows both steps are one small matrix product.
    """
    if any(() not in site.calls for site in plan.sites):
        routes.name = LATENT
        routes = builder.op("Where", [_reached(builder, plan, routes), routes, _minus_one(builder)])
    routes.name = name
    routes.type, routes.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([len(plan.sites)])
    return routes


def _minus_one(builder: Builder) -> ir.Value:
    return builder.constant("not_reached", np.array(-1))


def _reached(builder: Builder, plan: Plan, routes: ir.Value) -> ir.Value:
    """Whether each site is reached, bool [S]."""
    calls = sorted({call for site in plan.sites for call in site.calls})
    pairs = sorted({pair for call in calls for pair in call})
    if not pairs:
        return builder.constant("called", np.array([bool(site.calls) for site in plan.sites]))
    in_call = np.array([[pair in call for pair in pairs] for call in calls], dtype=np.float32)
    of_site = np.array([[call in site.calls for call in calls] for site in plan.sites], dtype=np.float32)
    sites = builder.constant("enclosing_sites", np.array([site for site, _ in pairs], np.int64))
    branches = builder.constant("enclosing_branches", np.array([branch for _, branch in pairs], np.int64))
    equal = builder.op("Equal", [builder.op("Gather", [routes, sites], axis=0), branches])
    taken = builder.op("Cast", [equal], to=ir.DataType.FLOAT)
    counts = builder.op("MatMul", [builder.constant("pairs_of_calls", in_call), taken])
    whole = builder.op("GreaterOrEqual", [counts, builder.constant("pairs_needed", in_call.sum(axis=1))])
    hits = builder.op(
        "MatMul",
        [builder.constant("calls_of_sites", of_site), builder.op("Cast", [whole], to=ir.DataType.FLOAT)],
    )
    return builder.op("Greater", [hits, builder.constant("none", np.array(0.0, np.float32))])
