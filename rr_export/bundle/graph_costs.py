"""Costs of paths, counted in a routed graph: FLOPs, parameters or bytes of every branch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from rr_export.bundle.graph_work import Event, work_of
from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_runtime.one_line import list_few

UNITS = {"flops": "FLOPs", "parameters": "parameters", "bytes": "bytes"}  # as asked for, as told
MOST_ROUTES = 1 << 16  # of the sites around a branch, that are gone through


def count_costs(model: ir.Model, plan: Plan, unit: str, sizes: Mapping[str, int]) -> Costs:
    """Returns what every branch adds, and what every run pays.

    Args:
        model: the model, whose ``If`` of sites carry their marks.
        plan: its sites.
        unit: "flops": multiply-adds times two, of matrix products and convolutions; "parameters": numbers that are
            read; "bytes": what these take.
        sizes: sizes of dynamic axes by name, for counting FLOPs.

    Raises:
        ValueError: there is no such unit, or something depends on several sites together, so that no branch adds it.
    """
    if unit not in UNITS:
        raise ValueError(f"costs: expected a unit among {', '.join(UNITS)}, got {unit!r}; take one of them")
    work = work_of(model, plan, sizes)
    if unit == "flops":
        parts: Iterable[tuple[float, Sequence[Event]]] = ((flops, [place]) for flops, place in work.products)
    else:
        parts = ((w.parameters if unit == "parameters" else w.bytes, w.places) for w in work.weights)
    base, rows = 0.0, [[0.0] * len(site.branches) for site in plan.sites]
    for amount, places in parts:
        if any(not place for place in places):
            base += amount
            continue
        site, routes = _decided_by(plan, places, UNITS[unit])
        for k in routes:
            rows[site][k] += amount
    return Costs(UNITS[unit], base, tuple(map(tuple, rows)))


def _decided_by(plan: Plan, places: Sequence[Event], unit: str) -> tuple[int, list[int]]:
    """The site, and those of its routes, under which something is done wherever the site is reached.

    Raises:
        ValueError: no one site decides on it.
    """
    for site in sorted(set.intersection(*(set(place) for place in places))):
        calls: list[Event] = [{s: range(k, k + 1) for s, k in call} for call in plan.sites[site].calls]
        around = {
            k: [{s: routes for s, routes in place.items() if s != site} for place in places if k in place[site]]
            for k in range(len(plan.sites[site].branches))
        }
        taken = [k for k, events in around.items() if events]
        if all(_same(plan, around[k], calls) for k in taken):
            return site, taken
    names = list_few(repr(plan.sites[i].name) for i in sorted({i for place in places for i in place}))
    raise ValueError(
        f"costs: expected {unit} that the branch of one site decides on, got some that depend on {names} together, as "
        "where a site is called in several branches; count in another unit, or measure ms (Costs.from_bench)"
    )


def _same(plan: Plan, a: Sequence[Event], b: Sequence[Event]) -> bool:
    """Tells whether one of the events ``a`` happens where, and only where, one of ``b`` does."""
    sites = sorted({i for event in (*a, *b) for i in event})
    if math.prod(len(plan.sites[i].branches) for i in sites) > MOST_ROUTES:
        return False
    for routes in itertools.product(*(range(len(plan.sites[i].branches)) for i in sites)):
        taken = dict(zip(sites, routes, strict=True))
        first, second = (any(all(taken[i] in r for i, r in e.items()) for e in events) for events in (a, b))
        if first != second:
            return False
    return True
