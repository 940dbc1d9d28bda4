"""The law of a frozen target: as near to the plan's as its paths allow, stated, and kept by the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.laws.plan import Plan
from rr_export.parity.law import rejected
from rr_export.targets.frozen_paths import choose_frozen_paths
from rr_runtime import Session
from tests import nets

RATE = 1e-9  # false alarms of one test; seeds are fixed


@pytest.fixture(scope="module")
def plan(everything_bundle: rr.Bundle) -> Plan:
    return everything_bundle.plan


@pytest.fixture(scope="module")
def long_plan() -> Plan:
    """24 layers: far more paths than any package holds."""
    layers = [rr.LayerChoice(nn.Linear(2, 2), 0.5 + i / 50) for i in range(24)]
    return rr.plan_of(nn.Sequential(*layers).eval(), (torch.zeros(1, 2),))


def test_all_paths_are_the_plan_itself(plan: Plan) -> None:
    law = choose_frozen_paths(plan, 10_000)
    assert law.total_variation < 1e-9 and law.site_variation < 1e-9
    assert law.probabilities.sum() == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(law.weights, law.probabilities)
    assert (law.keeps() == 1.0).all()
    assert all(plan.probability(path) > 0 for path in law.paths)


@pytest.mark.parametrize("count", [1, 2, 5, 20, 64])
def test_distance_is_the_total_variation(count: int, plan: Plan) -> None:
    law = choose_frozen_paths(plan, count)
    assert len(law.paths) == len(set(law.paths)) == count
    assert law.weights.sum() == pytest.approx(1.0)
    assert (law.weights > 0).all()
    everything = {path: plan.probability(path) for path in plan.paths()}
    packaged = dict(zip(law.paths, law.weights, strict=True))
    apart = sum(abs(p - packaged.get(path, 0.0)) for path, p in everything.items()) / 2
    assert law.total_variation == pytest.approx(apart, abs=1e-9)


def test_sites_keep_their_law_as_soon_as_the_paths_allow(long_plan: Plan) -> None:
    few, many = choose_frozen_paths(long_plan, 4), choose_frozen_paths(long_plan, 64)
    assert many.site_variation < 1e-3 < few.site_variation
    share = np.array([path[3] == 1 for path in many.paths]) @ many.weights
    assert share == pytest.approx(long_plan.marginals()[3][1], abs=1e-3)


def test_best_paths_are_those_of_the_metric(plan: Plan) -> None:
    law = choose_frozen_paths(plan, 5, best=lambda path: float(sum(path)))
    least = min(map(sum, law.paths))
    possible = [path for path in plan.paths() if plan.probability(path) > 0]
    assert sum(sum(path) > least for path in possible) < 5 <= sum(sum(path) >= least for path in possible)
    most = choose_frozen_paths(plan, 3, best=plan.probability)
    assert most.paths[0] == plan.most_probable()


@pytest.mark.parametrize("metric", [lambda path: float("nan"), lambda path: {}[path], lambda path: "much"])
def test_a_metric_must_give_numbers(metric: Any, plan: Plan) -> None:
    with pytest.raises(ValueError, match="best: expected a number for path"):
        choose_frozen_paths(plan, 2, best=metric)


def test_bug_all_possible_paths_are_the_plan_though_there_are_impossible_ones() -> None:
    sites = [
        rr.OperationChoice([nn.Linear(2, 2), nn.Identity(), nn.ReLU()], rr.Categorical([0.3, 0, 0.7])) for _ in "ab"
    ]
    plan = rr.plan_of(nn.Sequential(*sites).eval(), (torch.zeros(1, 2),))
    law = choose_frozen_paths(plan, 4)
    assert plan.path_count() == 9 and len(law.paths) == 4 and law.total_variation < 1e-12


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_a_bad_count_is_refused(count: int, plan: Plan) -> None:
    with pytest.raises(ValueError, match="frozen: expected a number of paths >= 1"):
        choose_frozen_paths(plan, count)


@pytest.mark.parametrize("count", [3, 12, 128])
def test_runs_have_the_stated_law(count: int, everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    bundle = rr.package(everything_bundle, "cpu", frozen=count)
    session = Session(bundle.save(tmp_path / "bundle"))
    law = choose_frozen_paths(everything_bundle.plan, count)
    free, runs = np.full(6, -1), 20_000
    seen = np.bincount([session.engine.choose(seed, free) for seed in range(runs)], minlength=count)  # type: ignore[attr-defined]
    assert rejected(seen, law.weights, runs, RATE / count) == []
    # the sabotaged twin: the same runs contradict another law
    assert rejected(seen, law.weights[::-1].copy(), runs, RATE / count)


def test_as_many_runs_as_possible_take_their_own_path(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    bundle = rr.package(everything_bundle, "cpu", frozen=20)
    folder = bundle.save(tmp_path / "bundle")
    frozen, routed = Session(folder), Session(folder, target="default")
    inputs = {"x": nets.example().numpy()}
    runs = 2_000
    same = sum(
        frozen.run(inputs, seed=s).path.tolist() == routed.run(inputs, seed=s).path.tolist() for s in range(runs)
    )
    expected = 1 - bundle.targets["cpu"].about["distance"]["total_variation"]
    assert rejected(np.array([same]), np.array([expected]), runs, RATE) == []


def test_a_path_that_is_not_packaged_is_refused(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    session = Session(rr.package(everything_bundle, "cpu", frozen=2).save(tmp_path / "bundle"))
    inputs = {"x": nets.example().numpy()}
    packaged = [list(p.path) for p in session.manifest.targets["cpu"].paths]
    other = next(list(p) for p in everything_bundle.plan.paths() if list(p) not in packaged)
    for path in packaged:
        assert session.run(inputs, path=path).path.tolist() == path
    with pytest.raises(ValueError, match=r"expected one of the 2 paths of target 'cpu' \(.*use target='default'"):
        session.run(inputs, path=other)
    partly = [packaged[0][0], *[-1] * 5]
    assert session.run(inputs, path=partly).path.tolist()[0] == packaged[0][0]


def test_designs_take_the_packaged_paths_or_are_refused(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    count = everything_bundle.plan.path_count()
    inputs = {"x": nets.example().numpy()}
    folder = rr.package(everything_bundle, "cpu", frozen=count).save(tmp_path / "all")
    frozen, routed = Session(folder, loaded_paths=count), Session(folder, target="default")
    few = Session(rr.package(everything_bundle, "cpu", frozen=1).save(tmp_path / "few"))
    for draws in ("antithetic", "stratified", "latin"):
        found, expected = (s.ensemble(inputs, runs=32, seed=3, draws=draws).paths for s in (frozen, routed))
        assert found is not None and expected is not None and found.tolist() == expected.tolist()
        with pytest.raises(ValueError, match=r"expected one of the 1 paths of target 'cpu' \(.*use target='default'"):
            few.ensemble(inputs, runs=32, seed=3, draws=draws)


def test_only_so_many_paths_stay_loaded(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = rr.package(everything_bundle, "cpu", frozen=6).save(tmp_path / "bundle")
    session = Session(folder, loaded_paths=2)
    inputs = {"x": nets.example().numpy()}
    first = {}
    for _ in range(2):
        for row in session.manifest.targets["cpu"].paths:
            found = session.run(inputs, path=row.path).outputs["y"]
            np.testing.assert_array_equal(first.setdefault(row.path, found), found)
            assert len(session.engine._sessions) <= 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="loaded_paths: expected an integer >= 1"):
        Session(folder, loaded_paths=0)


@pytest.mark.parametrize("count", [63, 40])
def test_no_law_on_the_paths_is_nearer(count: int) -> None:
    sites = [rr.LayerChoice(nn.Linear(2, 2), 0.5) for _ in range(6)]
    plan = rr.plan_of(nn.Sequential(*sites).eval(), (torch.zeros(1, 2),))
    assert choose_frozen_paths(plan, count).total_variation == pytest.approx(1 - count / 64)
