"""Draws and the asked path -> latent routes, as vectors; a Markov chain costs one Gather a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.lowering.builder import Builder

NEVER = 2.0  # a threshold above every draw
GRID = 2**24  # draws are multiples of its inverse
TABLE_LIMIT = 32  # chains with more branches look up step by step: the table of all next routes would be large

Tables = Sequence[NDArray[Any]]  # for every site its thresholds [J, K - 1], in the form of the draws


def decode_routes(builder: Builder, plan: Plan, draws: ir.Value, path: ir.Value | None) -> ir.Value:
    """Returns the latent routes of all sites, int64 [S]; where a gate decides, the asked route, or -1.

    Args:
        builder: where the nodes go.
        plan: the policies; the route is the number of thresholds <= the draw.
        draws: float32 [S] in [0, 1), or int64 [S], 2^24 times as large.
        path: int64 [S], < 0 draws, larger routes are clipped to K - 1; or None: all sites draw.
    """
    empty = np.zeros((1, 0), np.float32)
    tables = [_limits(empty if i in plan.gates else s.policy.thresholds, draws) for i, s in enumerate(plan.sites)]
    chained = {site for chain in plan.chains for site in chain if len(chain) > 1}
    alone = [i for i in range(len(plan.sites)) if i not in chained and i not in plan.gates]
    groups = [alone] if alone else []
    parts = [_independent(builder, plan, tables, alone, draws, path)] if alone else []
    for chain in plan.chains:
        if len(chain) > 1:
            groups.append(list(chain))
            branches = max(plan.sites[i].policy.branches for i in chain)
            decode = _chain_by_table if branches <= TABLE_LIMIT else _chain_by_steps
            parts.append(decode(builder, plan, tables, list(chain), draws, path))
    if plan.gates:
        groups.append(list(plan.gates))
        parts.append(_gated(builder, plan, list(plan.gates), path))
    order = [i for group in groups for i in group]
    joined = parts[0] if len(parts) == 1 else builder.op("Concat", parts, axis=0)
    return _pick(builder, joined, list(np.argsort(order)), len(order))


def _independent(
    builder: Builder, plan: Plan, tables: Tables, sites: list[int], draws: ir.Value, path: ir.Value | None
) -> ir.Value:
    """Routes of sites that do not look at others, int64 [n]."""
    thresholds = _padded([tables[i] for i in sites])[:, 0, :]
    mine = _pick(builder, draws, sites, len(plan.sites))
    if thresholds.shape[1] == 1:
        reached = builder.op("GreaterOrEqual", [mine, builder.constant("thresholds", thresholds[:, 0])])
        drawn = builder.op("Cast", [reached], to=ir.DataType.INT64)
    else:
        drawn = _count(builder, _column(builder, mine, 1), thresholds)
    return _forced(builder, plan, sites, drawn, path)


def _gated(builder: Builder, plan: Plan, sites: list[int], path: ir.Value | None) -> ir.Value:
    """The asked routes of sites that the input decides, -1 where none is asked for, int64 [n]."""
    nothing = builder.constant("undecided", np.full(len(sites), -1, np.int64))
    return _forced(builder, plan, sites, nothing, path)


def _chain_by_table(
    builder: Builder, plan: Plan, tables: Tables, sites: list[int], draws: ir.Value, path: ir.Value | None
) -> ir.Value:
    """Routes of one chain: the next route for every previous one as a table, then one Gather a step.

    The table holds its own flat positions instead of routes, so that what one step finds is where the next
    one looks: ``table[t, j] = (t + 1) * J + next route``.
    """
    thresholds = _padded([tables[i] for i in sites])
    steps, rows, _ = thresholds.shape
    mine = _column(builder, _pick(builder, draws, sites, len(plan.sites)), 2)
    routes = _forced(builder, plan, sites, _count(builder, mine, thresholds), path, column=True)
    offsets = (np.arange(steps, dtype=np.int64) + 1) * rows
    table = builder.op("Add", [routes, builder.constant("offsets", offsets[:, None])])
    flat = builder.op("Reshape", [table, builder.constant("flat", np.array([-1]))])
    found = [builder.op("Gather", [flat, builder.constant("zero", np.array([0]))], axis=0)]
    for _ in range(steps - 1):
        found.append(builder.op("Gather", [flat, found[-1]], axis=0))
    return builder.op("Sub", [builder.op("Concat", found, axis=0), builder.constant("offsets", offsets)])


def _chain_by_steps(
    builder: Builder, plan: Plan, tables: Tables, sites: list[int], draws: ir.Value, path: ir.Value | None
) -> ir.Value:
    """Routes of one chain, one row of thresholds looked up a step."""
    steps = len(sites)
    split = {"num_outputs": steps, "axis": 0}
    drawn = builder.ops("Split", [_pick(builder, draws, sites, len(plan.sites))], steps, **split)
    asked: Sequence[ir.Value | None] = [None] * steps
    if path is not None:
        asked = builder.ops("Split", [_pick(builder, path, sites, len(plan.sites))], steps, **split)
    route = builder.constant("zero", np.array([0]))
    found = []
    for t, site in enumerate(sites):
        table = builder.constant("step", tables[site])
        row = builder.op("Gather", [table, route], axis=0)
        passed = builder.op("Cast", [builder.op("GreaterOrEqual", [drawn[t], row])], to=ir.DataType.INT64)
        axis = builder.constant("axis", np.array([1]))
        route = builder.op("ReduceSum", [passed, axis], keepdims=0)
        route = _override(builder, route, asked[t], np.array([plan.sites[site].policy.branches - 1]))
        found.append(route)
    return builder.op("Concat", found, axis=0)


def _limits(thresholds: NDArray[np.float32], draws: ir.Value) -> NDArray[Any]:
    """The thresholds in the form of the draws: for whole draws the least number that reaches each."""
    if draws.dtype == ir.DataType.FLOAT:
        return thresholds
    return np.ceil(thresholds.astype(np.float64) * GRID).astype(np.int64)


def _padded(tables: Tables) -> NDArray[Any]:
    """Stacks thresholds [J_i, K_i - 1] into [n, max J, max(1, max K - 1)]; the rest is never reached."""
    shape = (len(tables), max(t.shape[0] for t in tables), max(1, *(t.shape[1] for t in tables)))
    never = NEVER if tables[0].dtype == np.float32 else NEVER * GRID
    padded = np.full(shape, never, dtype=tables[0].dtype)
    for i, table in enumerate(tables):
        padded[i, : table.shape[0], : table.shape[1]] = table
    return padded


def _count(builder: Builder, draws: ir.Value, thresholds: NDArray[Any]) -> ir.Value:
    """How many thresholds of the last axis are <= the draw."""
    passed = builder.op("GreaterOrEqual", [draws, builder.constant("thresholds", thresholds)])
    axis = builder.constant("axis", np.array([thresholds.ndim - 1]))
    return builder.op("ReduceSum", [builder.op("Cast", [passed], to=ir.DataType.INT64), axis], keepdims=0)


def _forced(
    builder: Builder,
    plan: Plan,
    sites: list[int],
    drawn: ir.Value,
    path: ir.Value | None,
    *,
    column: bool = False,
) -> ir.Value:
    """The asked routes of ``sites`` where they are >= 0, else the drawn ones."""
    if path is None:
        return drawn
    last = np.array([plan.sites[i].policy.branches - 1 for i in sites], dtype=np.int64)
    asked = _pick(builder, path, sites, len(plan.sites))
    return _override(builder, drawn, _column(builder, asked, 1) if column else asked, last[:, None] if column else last)


def _override(builder: Builder, drawn: ir.Value, asked: ir.Value | None, last: NDArray[np.int64]) -> ir.Value:
    if asked is None:
        return drawn
    free = builder.op("Less", [asked, builder.constant("no_route", np.array(0))])
    clipped = builder.op("Min", [asked, builder.constant("last_route", last)])
    return builder.op("Where", [free, drawn, clipped])


def _pick(builder: Builder, vector: ir.Value, positions: list[int], length: int) -> ir.Value:
    if list(positions) == list(range(length)):
        return vector
    return builder.op("Gather", [vector, builder.constant("sites", np.array(positions, np.int64))], axis=0)


def _column(builder: Builder, vector: ir.Value, axes: int) -> ir.Value:
    """[n] -> [n, 1, ...] with ``axes`` new axes."""
    new = builder.constant("new_axes", np.arange(1, axes + 1))
    return builder.op("Unsqueeze", [vector, new])
