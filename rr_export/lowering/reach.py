"""Latent routes -> the path taken: -1 where no call of a site is reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from rr_export.laws.plan import Plan
from rr_export.lowering.builder import Builder

LATENT = "rr_routes"  # the latent routes, where they differ from the path taken


def path_taken(builder: Builder, plan: Plan, routes: ir.Value, name: str) -> ir.Value:
    """Returns the path taken, int64 [S], as the value ``name``; the latent routes are ``LATENT`` if that differs.

    A site is reached when, for one of its calls, all enclosing (site, branch) pairs are taken: the taken pairs of each
    call are counted, then the whole calls of each site. In whole numbers, as quantisers and converters rewrite products
    and floating point.
    """
    if any(() not in site.calls for site in plan.sites):
        if not plan.gates:  # whose routes are not known yet where the latent routes are
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
    sites = builder.constant("enclosing_sites", np.array([site for site, _ in pairs], np.int64))
    branches = builder.constant("enclosing_branches", np.array([branch for _, branch in pairs], np.int64))
    equal = builder.op("Equal", [builder.op("Gather", [routes, sites], axis=0), branches])
    taken = builder.op("Cast", [equal], to=ir.DataType.INT64)
    of_calls = [[pairs.index(pair) for pair in call] for call in calls]
    counts = _sums(builder, taken, "pairs_of_calls", of_calls)
    needed = builder.constant("pairs_needed", np.array([len(call) for call in calls]))
    whole = builder.op("Cast", [builder.op("GreaterOrEqual", [counts, needed])], to=ir.DataType.INT64)
    of_sites = [[calls.index(call) for call in site.calls] for site in plan.sites]
    hits = _sums(builder, whole, "calls_of_sites", of_sites)
    return builder.op("Greater", [hits, builder.constant("none", np.array(0))])


def _sums(builder: Builder, values: ir.Value, name: str, rows: Sequence[Sequence[int]]) -> ir.Value:
    """For every row the sum of ``values``, int64 [n], at its positions."""
    width = max(1, *map(len, rows))
    table = np.array([[p + 1 for p in row] + [0] * (width - len(row)) for row in rows], np.int64)
    extended = builder.op("Concat", [builder.constant("nothing", np.array([0])), values], axis=0)
    found = builder.op("Gather", [extended, builder.constant(name, table)], axis=0)
    return builder.op("ReduceSum", [found, builder.constant("axis", np.array([1]))], keepdims=0)
