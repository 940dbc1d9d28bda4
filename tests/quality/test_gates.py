"""Sites whose routes the input decides: paths are forced as any, and a run says what was decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import rr_export as rr
from rr_export.errors import PlanError
from rr_runtime import Session
from rr_runtime.explanation import DECIDED, DRAWN, FORCED
from tests import nets

INPUTS = {"input": nets.example().numpy()}
DATA = [(INPUTS, np.zeros(3))]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    bundle = rr.export(nets.gated(), (nets.example(),))
    return Session(bundle.save(tmp_path_factory.mktemp("gated") / "out"))


def first(outputs: Any, target: Any) -> Any:
    return next(iter(outputs.values()))[:, 0]


@pytest.mark.parametrize(
    ("function", "given"),
    [(rr.evaluate, {}), (rr.evaluate, {"runs": 9}), (rr.attribute, {}), (rr.attribute, {"permutations": 3})],
)
def test_there_is_no_law_to_evaluate_over(session: Session, function: Any, given: dict[str, int]) -> None:
    with pytest.raises(PlanError, match="plan: expected a law that does not depend on the input, got a gate"):
        function(session, DATA, first, **given)


def test_its_probabilities_for_an_input_are_a_law(session: Session) -> None:
    plan = rr.plan_of(nets.gated(), (nets.example(),))
    law = plan.with_policies({plan.sites[i].name: rr.Uniform(plan.sites[i].policy.branches) for i in plan.gates})
    found = rr.evaluate(session, DATA, first, profile=law)
    expected = 0.0
    model = nets.gated()
    for path in law.paths():
        with rr.forced(model, path), torch.no_grad():
            expected += law.probability(path) * float(model(nets.example())[:, 0].mean())
    assert found.mean == pytest.approx(expected, abs=1e-5)


def test_paths_are_searched_and_attributed_beside_a_baseline(session: Session) -> None:
    plan = rr.plan_of(nets.gated(), (nets.example(),))
    costs = rr.Costs("ms", 1.0, tuple(tuple(float(k) for k in range(len(site.branches))) for site in plan.sites))
    found = rr.search(session, DATA, first, costs)
    assert len(found.evaluated) == plan.path_count() and found.paths
    some = rr.search(session, DATA, first, costs, evaluations=20)
    assert len(some.evaluated) == 20 and {p.path for p in some.evaluated} <= {p.path for p in found.evaluated}
    worth = rr.attribute(session, DATA, first, baseline=[0] * len(plan.sites))
    assert worth.value - worth.without == pytest.approx(sum(site.value for site in worth.sites), abs=1e-6)


def test_a_run_tells_what_the_input_decided(session: Session) -> None:
    names = [site.name for site in session.sites]
    gates = [i for i, site in enumerate(session.sites) if site.policy.type == "gate"]
    hows = set()
    for seed in range(8):
        found = session.explain(INPUTS, seed=seed)
        path = session.run(INPUTS, seed=seed).path
        assert path is not None and found.result.path is not None
        np.testing.assert_array_equal(found.result.path, path)
        for i, site in enumerate(found.sites):
            assert site.how == (DECIDED if i in gates else DRAWN)
            assert (site.reached, site.route) == (path[i] >= 0, path[i] if path[i] >= 0 else site.route)
            hows.add((site.how, site.reached))
            assert (site.probabilities == ()) == (i in gates)
        for other in found.alternatives:
            np.testing.assert_array_equal(
                next(iter(other.outputs.values())),
                next(iter(session.run(INPUTS, seed=seed, path=other.path).outputs.values())),
            )
            assert other.path[names.index(other.site)] != path[names.index(other.site)]
        assert "decided by the input" in str(found)
    assert hows == {(DECIDED, True), (DECIDED, False), (DRAWN, True), (DRAWN, False)}
    forced = session.explain(INPUTS, seed=0, path=[0 if i in gates else -1 for i in range(len(names))])
    assert {forced.sites[i].how for i in gates} == {FORCED} and {forced.sites[i].route for i in gates} == {0}
