"""What paths take by costs of branches, against costs that add up by construction, and on paths that were not timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

import rr_export as rr
from rr_runtime.bundle import open_bundle
from rr_runtime.tools.choices import choices
from rr_runtime.tools.path_model import HELD_OUT, PathModel, least_squares_above_zero, random_paths


def test_random_paths_are_different_and_not_timed(saved: Path) -> None:
    sites, plan = open_bundle(saved).manifest.sites, rr.load(saved).plan
    usual = (0,) * len(sites)
    timed = [usual, *(path for choice in choices(sites, usual) for path in choice.paths)]
    held_out, fitted = random_paths(sites, timed)
    taken = [tuple(plan.taken(path).tolist()) for path in (*held_out, *fitted)]
    assert len(held_out) == HELD_OUT and len(fitted) == sum(len(site.branches) - 1 for site in sites)
    assert len(set(taken)) == len(taken)
    assert not set(taken) & {tuple(plan.taken(path).tolist()) for path in timed}
    assert (held_out, fitted) == random_paths(sites, timed)


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_costs_that_add_up_are_found_and_others_are_not(saved: Path, shared: float) -> None:
    """The truth is the cost of a path by the plan's costs; its sabotaged twin has two branches that share something."""
    sites, plan = open_bundle(saved).manifest.sites, rr.load(saved).plan
    rng = np.random.default_rng(0)
    costs = rr.Costs("ms", 9.0, tuple(tuple(rng.exponential(1, len(site.branches)).tolist()) for site in plan.sites))
    usual = tuple(int(k) for k in rng.integers(0, 2, len(sites)))

    def truth(path: tuple[int, ...]) -> float:
        taken = plan.taken(path)
        return costs.of(taken) + shared * float(taken[-1] == 1 and taken[1] == 1)

    timed = [usual, *(path for choice in choices(sites, usual) for path in choice.paths)]
    held_out, fitted = random_paths(sites, timed)
    model = PathModel(sites, {path: truth(path) for path in (*timed, *fitted)})
    told = model.judge({path: truth(path) for path in held_out})
    assert (told["error_worst"] < 1e-9) == (shared == 0.0) == (told["error_mean"] < 1e-9)
    if not shared:
        found = rr.Costs.from_bench({"tool": "bench", "subjects": [{"name": "cpu", "model": told}]}, plan)
        assert max(abs(found.of(path) - costs.of(path)) for path in plan.paths()) < 1e-9


def test_errors_are_relative_to_what_was_measured(two_layers: Path) -> None:
    sites = open_bundle(two_layers).manifest.sites
    model = PathModel(sites, {(0, 0): 1.0, (1, 0): 2.0, (0, 1): 3.0})
    told = model.judge({(1, 1): 5.0})
    assert told["paths"] == 1 and told["base_ms"] >= 0
    assert told["error_mean"] == told["error_worst"] == pytest.approx(0.2)  # 4 instead of 5
    assert told["held_out"] == [{"path": [1, 1], "predicted_ms": pytest.approx(4.0), "measured_ms": 5.0}]
    assert model.judge({})["error_mean"] is None


def test_no_branch_takes_less_than_nothing(two_layers: Path) -> None:
    """Two layers that each save more than a half: costs that add up would make the path without both negative."""
    sites = open_bundle(two_layers).manifest.sites
    told = PathModel(sites, {(1, 1): 4.0, (0, 1): 1.5, (1, 0): 1.5}).judge({(0, 0): 1.0})
    assert told["base_ms"] >= 0 and all(row["cost_ms"] >= 0 for row in told["branches"])
    assert told["held_out"][0]["predicted_ms"] >= 0


def test_least_squares_above_zero_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        m, n = rng.integers(2, 12, 2)
        a, b = rng.normal(0, 1, (m, n)) * rng.integers(0, 2, (m, n)), rng.normal(0.5, 1, m)
        found = least_squares_above_zero(a, b)
        assert (found >= 0).all()
        assert np.linalg.norm(a @ found - b) == pytest.approx(nnls(a, b)[1], abs=1e-9)
