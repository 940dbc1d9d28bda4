"""What a run of a routed graph costs on average: the parameters that it uses, and its products and convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from rr_export.bundle.graph_work import work_of
from rr_export.laws.plan import Plan


@dataclass(frozen=True)
class ExpectedCost:
    """What a run costs, under the plan's law.

    Attributes:
        parameters: number of parameters, each counted once.
        parameters_used: expected number of parameters that a run uses.
        flops: multiply-adds times two of all branches, for ``sizes``; matrix products and convolutions only.
        flops_used: expected number in one run.
        sizes: the sizes taken for dynamic axes.
    """

    parameters: int
    parameters_used: float
    flops: float
    flops_used: float
    sizes: Mapping[str, int]


def expected_cost(model: ir.Model, plan: Plan, sizes: Mapping[str, int]) -> ExpectedCost:
    """Returns what a run costs on average; every branch of a gate counts as equally likely.

    Args:
        model: the model, whose ``If`` of sites carry their marks.
        plan: its sites.
        sizes: sizes of dynamic axes by name, for counting FLOPs.
    """
    plan = plan.evenly()
    work = work_of(model, plan, sizes)
    return ExpectedCost(
        sum(weight.parameters for weight in work.weights),
        sum(weight.parameters * plan.probability_of_any(weight.places) for weight in work.weights),
        sum(flops for flops, _ in work.products),
        sum(flops * plan.probability_of_any([place]) for flops, place in work.products),
        work.sizes,
    )
