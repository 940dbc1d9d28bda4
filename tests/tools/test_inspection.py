"""What is read off a bundle with profiles: what runs under each cost, and what was measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.tools.inspection import inspect


@pytest.fixture(scope="module")
def bundle() -> rr.Bundle:
    """Layers of 20 parameters; the second one is around the third, the last one always runs."""
    inner = nn.Sequential(nn.Linear(4, 4), rr.LayerChoice(nn.Linear(4, 4), 0.9))
    model = nn.Sequential(rr.LayerChoice(nn.Linear(4, 4), 0.8), rr.LayerChoice(inner, 0.5), nn.Linear(4, 4)).eval()
    made = rr.export(model, (torch.ones(2, 4),), golden=0)
    half = made.plan.with_policies([rr.Uniform(2)] * 3)
    return made.with_profile("half", half, measured=rr.Measured(0.6, 0.8, 0.1, "f1")).with_profile("one", [1, 0, -1])


def test_a_profile_costs_what_its_law_uses(bundle: rr.Bundle) -> None:
    found = inspect(bundle)
    half, one = found.profiles
    assert (found.parameters, found.flops) == (80, 4 * 2 * 2 * 16)
    assert half.parameters_used == pytest.approx(20 * (0.5 + 0.5 + 0.25 + 1))
    assert half.flops_used / found.flops == pytest.approx(2.25 / 4)
    assert one.parameters_used == pytest.approx(40) and one.flops_used / found.flops == pytest.approx(0.5)
    assert (half.name, half.law, one.law) == ("half", "[0.5 0.5] at 0, 1.layer.1", "path 1,0,-1")
    assert found.to_json()["profiles"] == [
        {
            "name": "half",
            "law": "[0.5 0.5] at 0, 1.layer.1",
            "parameters_used": half.parameters_used,
            "flops_used": half.flops_used,
            "measured": {"cost": 0.6, "quality": 0.8, "spread": 0.1, "metric": "f1"},
        },
        {"name": "one", "law": "path 1,0,-1", "parameters_used": 40.0, "flops_used": one.flops_used, "measured": None},
    ]


def test_profiles_are_a_table_of_their_own(bundle: rr.Bundle) -> None:
    tables = inspect(bundle).tables("out")
    cells = [[*column.cells] for column in tables[2].columns]
    assert len(tables) == 4 and "profiles" in str(tables[2].title)
    assert cells[2:4] == [["56.2%", "50.0%"]] * 2
    assert cells[4:] == [["60.0%", "-"], ["0.8 +- 0.1 f1", "-"]]
    assert len(inspect(rr.Bundle(bundle.model, bundle.manifest)).tables("out")) == 3
