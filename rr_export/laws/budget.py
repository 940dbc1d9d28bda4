"""The law nearest to a plan's that meets a budget."""

from __future__ import annotations

import math
from collections.abc import Callable

from rr_export.laws.costs import Costs
from rr_export.laws.drawn_tables import as_drawn, nearest_drawn, with_tables
from rr_export.laws.nearest_policies import search_nearest
from rr_export.laws.path_circuit import Tables
from rr_export.laws.plan import Plan
from rr_export.laws.tilt import Tilt, Tilted

FINE = 1e-7  # of a strength: how near to the least one that meets the budget
STRONGEST = 2.0**50  # tilts of so much and more take the cheapest path


def fit_budget(
    plan: Plan, costs: Costs, budget: float, *, percentile: float | None = None, in_unit: bool = False
) -> Plan:
    """Returns the plan with the nearest law that meets a budget; the plan itself where it does.

    Nearest is the law of paths of the least Kullback-Leibler divergence from the plan's, of all with that expected
    cost: every path is made less probable by exp(-strength * its cost), for the least strength that will do (Csiszar,
    I-Divergence Geometry of Probability Distributions and Minimization Problems, 1975). Independent sites stay
    independent, a chain stays a chain, and sites that are nested in a tree get policies that carry what is inside.
    Where this law would make sites depend on each other that do not, such as where a site is called in several
    branches, the nearest is searched among the laws that policies can say: a local minimum.

    Probabilities are multiples of 2^-24, so that runs have this law to the last draw, and meet the budget in it. What
    is less likely than that becomes 0; what is 0 in the plan stays so.

    Args:
        plan: the sites with their policies.
        costs: what their branches cost.
        budget: the most that a run may cost on average, as a share of the dearest path, as in ``session.run``.
        percentile: instead of the average, of so many percent of runs each, such as 95; the law is then the one of the
            least strength of the tilted laws, which need not be the nearest of all.
        in_unit: the budget is in the unit of the costs, no share.

    Raises:
        TypeError: the plan is none, the costs are none, or the budget or the percentile is no number.
        ValueError: it is no share, the plan cannot meet it, or the costs are not of this plan (see Costs.check).
    """
    if not isinstance(plan, Plan) or not isinstance(costs, Costs):
        raise TypeError(
            f"fit_budget: expected a plan and rr_export.Costs, got {type(plan).__name__} and {type(costs).__name__}; "
            "pass bundle.plan, and the costs of its branches"
        )
    limit = _limit(plan, costs, budget, in_unit=in_unit)
    judge = _judge(costs, percentile)
    if judge(as_drawn(plan)) <= limit:
        return plan
    tilt = Tilt(plan, costs)
    cheapest = tilt.cheapest()
    least = judge(with_tables(plan, cheapest.tables))
    if least > limit:
        dearest = 1.0 if in_unit else costs.dearest(plan)
        raise ValueError(
            f"budget: expected at least {_rounded_up(least / dearest)}, which the cheapest path of the plan costs, got "
            f"{budget}; pass more, or give cheaper paths a probability"
        )
    width = costs.dearest(plan) - costs.cheapest(plan)
    if percentile is None:
        start = _of_cost(tilt, limit, width)
        if start is None:
            start = cheapest
        if not start.nearest:
            start = search_nearest(tilt, limit, width, [start, tilt.by(0.0)])
        return _first_that_meets(tilt, start.tables, width, judge, limit) or with_tables(plan, cheapest.tables)
    return _weakest(tilt, width, judge, limit) or with_tables(plan, cheapest.tables)


def _limit(plan: Plan, costs: Costs, budget: float, *, in_unit: bool) -> float:
    if isinstance(budget, bool) or not isinstance(budget, int | float):
        raise TypeError(f"budget: expected a number, got {type(budget).__name__}; pass a share such as 0.6")
    if in_unit:
        if not 0 < budget < math.inf:
            raise ValueError(
                f"budget: expected a number of {costs.unit} above 0, got {budget}; pass what a run may cost"
            )
        costs.check(plan)
        return float(budget)
    if not 0 < budget <= 1:
        raise ValueError(
            f"budget: expected a share above 0 and at most 1, got {budget}; pass one such as 0.6, or in_unit=True"
        )
    return budget * costs.dearest(plan)


def _judge(costs: Costs, percentile: float | None) -> Callable[[Plan], float]:
    if percentile is None:
        return costs.expected
    if isinstance(percentile, bool) or not isinstance(percentile, int | float):
        raise TypeError(f"percentile: expected a number, got {type(percentile).__name__}; pass one such as 95")
    if not 0 < percentile <= 100:
        raise ValueError(
            f"percentile: expected a number above 0 and at most 100, got {percentile}; pass one such as 95"
        )
    return lambda plan: costs.law(plan).percentile(percentile)


def _of_cost(tilt: Tilt, limit: float, width: float) -> Tilted | None:
    """The tilted law whose expected cost is the limit or just below; None where that takes the strongest tilts."""
    from scipy.optimize import brentq  # half a second, and only here

    high = 1.0
    while tilt.by(high / width).cost > limit:
        high *= 4
        if high > STRONGEST:
            return None
    untilted = tilt.by(0.0)
    if untilted.cost <= limit:  # only its float32 thresholds are not
        return untilted
    strength = brentq(lambda s: tilt.by(s / width).cost - limit, 0.0, high, xtol=1e-13, rtol=1e-13)
    found, more = tilt.by(strength / width), 1e-13
    while found.cost > limit:
        found, more = tilt.by(min(strength * (1 + more), high) / width), 2 * more
    return found


def _first_that_meets(
    tilt: Tilt, tables: Tables, width: float, judge: Callable[[Plan], float], limit: float
) -> Plan | None:
    """The law, tilted by as little more as it takes to meet the budget in multiples of 2^-24."""
    more = 0.0
    while more < STRONGEST:
        plan = _in_draws(tilt.plan, tilt.by(more / width, tables).tables)
        if judge(plan) <= limit:
            return plan
        more = max(2 * more, FINE)
    return None


def _weakest(tilt: Tilt, width: float, judge: Callable[[Plan], float], limit: float) -> Plan | None:
    """The law of the least tilt that meets the budget, in multiples of 2^-24; None where no tilt does."""
    low, high, found = 0.0, 1.0, None
    while found is None or high - low > FINE * high:
        middle = high if found is None else (low + high) / 2
        plan = _in_draws(tilt.plan, tilt.by(middle / width).tables)
        if judge(plan) <= limit:
            high, found = middle, plan
        elif found is None:
            low, high = high, 4 * high
            if high > STRONGEST:
                return None
        else:
            low = middle
    return found


def _in_draws(plan: Plan, tables: Tables) -> Plan:
    return with_tables(plan, [nearest_drawn(table) for table in tables])


def _rounded_up(number: float) -> float:
    """Four digits, not below the number."""
    scale = 10.0 ** (3 - math.floor(math.log10(number))) if number > 0 else 1.0
    return math.ceil(number * scale) / scale
