"""What branches add up to, against costs that add up by construction, and on paths that were not timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rr_export as rr
from rr_runtime.bundle import open_bundle
from rr_runtime.tools.choices import choices
from rr_runtime.tools.path_model import HELD_OUT, held_out_paths, judged, predicted_ms


def test_held_out_paths_are_different_and_not_timed(saved: Path) -> None:
    sites, plan = open_bundle(saved).manifest.sites, rr.load(saved).plan
    usual = (0,) * len(sites)
    timed = [usual, *(path for choice in choices(sites, usual) for path in choice.paths)]
    found = held_out_paths(sites, timed)
    taken = {tuple(plan.taken(path).tolist()) for path in found}
    assert len(found) == len(taken) == HELD_OUT
    assert not taken & {tuple(plan.taken(path).tolist()) for path in timed}
    assert found == held_out_paths(sites, timed)


def test_costs_that_add_up_are_predicted_and_others_are_not(saved: Path) -> None:
    """The truth is the cost of a path by the plan's costs; its sabotaged twin has one pair of branches that share."""
    sites, plan = open_bundle(saved).manifest.sites, rr.load(saved).plan
    rng = np.random.default_rng(0)
    costs = rr.Costs("ms", 9.0, tuple(tuple(rng.normal(0, 1, len(site.branches)).tolist()) for site in plan.sites))
    usual = tuple(int(k) for k in rng.integers(0, 2, len(sites)))

    def truth(path: tuple[int, ...], shared: float = 0.0) -> float:
        taken = plan.taken(path)
        return costs.of(taken) + shared * float(taken[-1] == 1 and taken[1] == 1)

    for shared in (0.0, 2.0):
        found = {
            (choice.site, k): truth(path, shared) - truth(choice.paths[choice.usual], shared)
            for choice in choices(sites, usual)
            for k, path in enumerate(choice.paths)
        }
        paths = held_out_paths(sites, [usual])
        predicted = {path: predicted_ms(sites, path, truth(usual, shared), found) for path in paths}
        model = judged(truth(usual, shared), predicted, {path: truth(path, shared) for path in paths})
        assert (model["error_worst"] < 1e-12) == (shared == 0.0)


def test_errors_are_relative_to_what_was_measured() -> None:
    model = judged(1.0, {(0,): 1.1, (1,): 3.0}, {(0,): 1.0, (1,): 4.0})
    assert (model["base_ms"], model["paths"]) == (1.0, 2)
    assert model["error_mean"] == pytest.approx(0.175) and model["error_worst"] == pytest.approx(0.25)
    assert judged(1.0, {}, {})["error_mean"] is None
