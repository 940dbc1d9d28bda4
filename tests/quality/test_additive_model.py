"""The additive model: exact where qualities add up, its front that of brute force, with nesting and chains."""

import numpy as np
import pytest

import rr_export as rr
from rr_export.laws.plan import Plan
from rr_export.quality.additive_model import AdditiveModel, extreme_path, fit_additive, predicted_front
from rr_export.quality.path_values import PathValue
from tests.laws.random_plans import KINDS, random_plan


def numbers_for(plan: Plan, random: np.random.Generator) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(random.random(len(site.branches)).tolist()) for site in plan.sites)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_front_of_an_additive_model_is_that_of_brute_force(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    plan = random_plan(kind, random)
    costs, model = rr.Costs("ms", 1.0, numbers_for(plan, random)), AdditiveModel(0.5, numbers_for(plan, random))
    points = {path: (costs.of(path), model.of(path)) for path in plan.paths()}
    undominated = {
        path
        for path, (cost, worth) in points.items()
        if not any((c <= cost and w > worth) or (c < cost and w >= worth) for c, w in points.values())
    }
    assert set(predicted_front(plan, model, costs, 10**6)) == undominated
    some = predicted_front(plan, model, costs, 3)
    assert len(some) <= 3 and all(path in points for path in some)
    dearest, cheapest = (extreme_path(plan, costs, sign) for sign in (1, -1))
    assert points[dearest][0] == pytest.approx(max(c for c, _ in points.values()))
    assert points[cheapest][0] == pytest.approx(min(c for c, _ in points.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_gives_what_adds_up_back(kind: str) -> None:
    random = np.random.default_rng(5)
    plan = random_plan(kind, random)
    true = AdditiveModel(-2.0, numbers_for(plan, random))
    paths = list(plan.paths())
    found = fit_additive(plan, [PathValue(path, true.of(path), None, (), ()) for path in paths])
    assert [found.of(path) for path in paths] == pytest.approx([true.of(path) for path in paths], abs=0.02)


def test_a_fit_of_something_else_does_not() -> None:
    plan = Plan([rr.Site(f"s{i}", ("off", "on"), rr.Uniform(2)) for i in range(2)])
    values = {(0, 0): 0.0, (0, 1): 0.0, (1, 0): 0.0, (1, 1): 1.0}
    found = fit_additive(plan, [PathValue(path, value, None, (), ()) for path, value in values.items()])
    assert max(abs(found.of(path) - value) for path, value in values.items()) > 0.2
