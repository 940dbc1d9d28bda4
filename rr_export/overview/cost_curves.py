"""The law of latency: how what a run costs is distributed over paths, under the bundle's own law and its profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.laws.profile import Profile, plan_under
from rr_export.overview.costs_known import KnownCosts
from rr_export.overview.section import Absent, Section
from rr_export.report.short_numbers import short_number
from rr_export.tools.inspection import Inspection

OWN, TIMED = "the bundle's own law", "timed runs of it"
MOST_POINTS = 256  # of a curve; what is between is not to be seen
MEASURE = "rr-export bench {bundle} --json bench.json"


@dataclass(frozen=True)
class CostCurve:
    """The distribution function of a cost.

    Attributes:
        name: of the law.
        kind: "own", "profile" or "timed".
        values: costs, ascending, [n].
        below: the probability of at most so much, [n].
        mean: the average cost.
        percentiles: the least cost that so many percent of runs stay at or below, by percent.
        bound: the most by which values may be too high; 0 where they are exact.
    """

    name: str
    kind: str
    values: tuple[float, ...]
    below: tuple[float, ...]
    mean: float
    percentiles: Mapping[int, float]
    bound: float


@dataclass(frozen=True)
class CostCurves:
    """What runs cost under several laws.

    Attributes:
        unit: of the costs.
        source: where they come from, in a few words.
        cheapest: of all paths.
        dearest: of all paths.
        curves: the bundle's own law first.
    """

    unit: str
    source: str
    cheapest: float
    dearest: float
    curves: tuple[CostCurve, ...]


def cost_section(inspection: Inspection, known: KnownCosts, profiles: Mapping[str, Profile], *, bundle: str) -> Section:
    """Returns what is said of the cost of runs.

    Args:
        inspection: what was read off the file.
        known: what its paths cost.
        profiles: other laws over its sites.
        bundle: how a command names it.
    """
    absent = None if known.measured else Absent("No latency was measured.", MEASURE.format(bundle=bundle), "bench.json")
    tables = inspection.cost_tables()
    if known.costs is None or not inspection.plan.sites:
        alike = known.says if inspection.plan.sites else ("Every run costs the same.",)
        return Section("cost", "The law of latency", alike, tuple(tables), absent=absent)
    curves = cost_curves(inspection.plan, known, profiles)
    says = [*known.says]
    if inspection.plan.gates:
        says.append("Where the input decides, every branch counts as equally likely.")
    if any(curve.bound for curve in curves.curves):
        most = max(curve.bound for curve in curves.curves)
        says.append(f"There are too many costs for each to be told: they are rounded up, by at most {most:.2g}.")
    return Section("cost", "The law of latency", tuple(says), (_table(curves), *tables), (curves,), absent=absent)


def cost_curves(plan: Plan, known: KnownCosts, profiles: Mapping[str, Profile]) -> CostCurves:
    """Returns the law of cost under the plan's own law, under every profile, and of runs that were timed."""
    costs = known.costs
    assert costs is not None
    laws = {OWN: plan, **{f"profile {name}": plan_under(plan, told) for name, told in profiles.items()}}
    curves = [_curve(name, "own" if name == OWN else "profile", costs, law.evenly()) for name, law in laws.items()]
    if known.times:
        times = np.array(known.times)
        below = np.arange(1, len(times) + 1) / len(times)
        shares = {percent: float(np.quantile(times, percent / 100, method="inverted_cdf")) for percent in (50, 95, 99)}
        told = _thinned(times, below)
        curves.insert(1, CostCurve(TIMED, "timed", *told, float(times.mean()), shares, 0.0))
    return CostCurves(costs.unit, known.source, costs.cheapest(plan), costs.dearest(plan), tuple(curves))


def _curve(name: str, kind: str, costs: Costs, plan: Plan) -> CostCurve:
    law = costs.law(plan)
    told = _thinned(law.values, np.cumsum(law.probabilities))
    shares = {percent: law.percentile(percent) for percent in (50, 95, 99)}
    return CostCurve(name, kind, *told, costs.expected(plan), shares, law.bound)


def _thinned(values: NDArray[np.float64], below: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The points of a distribution function that are to be seen: both ends, and where it has risen by some."""
    if len(values) > MOST_POINTS:
        steps = np.searchsorted(below, np.linspace(0, 1, MOST_POINTS - 1) * below[-1])
        kept = np.unique(np.r_[0, np.minimum(steps, len(values) - 1), len(values) - 1])
        values, below = values[kept], below[kept]
    return tuple(values.tolist()), tuple(below.tolist())


def _table(curves: CostCurves) -> Table:
    cheapest, dearest = short_number(curves.cheapest), short_number(curves.dearest)
    table = Table(
        title=escape(f"what a run costs, {curves.unit} ({curves.source})"),
        caption=escape(f"of all paths the cheapest costs {cheapest}, the dearest {dearest}"),
    )
    table.add_column("law", overflow="fold")
    for column in ("mean", "of the dearest", "half at most", "95 % at most", "99 % at most"):
        table.add_column(column, justify="right")
    for curve in curves.curves:
        share = "-" if curve.kind == "timed" else f"{curve.mean / curves.dearest:.1%}"
        told = (short_number(curve.percentiles[percent]) for percent in (50, 95, 99))
        table.add_row(escape(curve.name), short_number(curve.mean), share, *told)
    return table
