"""The runs of the eager model that a bundle carries, to be compared with on a device."""

from __future__ import annotations

from rr_export.bundle.contents import GoldenCase
from rr_export.laws.plan import Plan
from rr_export.parity.subject import Eager

SEEDS = (0, 1)


def golden_cases(eager: Eager, plan: Plan) -> list[GoldenCase]:
    """Returns the eager model's runs on its most probable path, and on the draws of a few seeds."""
    if not plan.sites:
        return [GoldenCase(None, None, (), eager.inputs, eager.on_path(()).outputs)]
    path = plan.most_probable()
    cases = [GoldenCase(None, path, path, eager.inputs, eager.on_path(path).outputs)]
    for seed in SEEDS:
        answer = eager.on_seed(seed)
        cases.append(GoldenCase(seed, None, tuple(map(int, answer.path)), eager.inputs, answer.outputs))
    return cases
