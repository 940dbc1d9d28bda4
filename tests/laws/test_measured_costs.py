"""Costs from the figures of ``rr-export bench``, which here are made of costs that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rr_export as rr
from tests.laws.random_plans import random_costs, random_plan

Figures = dict[str, Any]


def figures_of(plan: rr.Plan, costs: rr.Costs) -> Figures:
    """Returns what a bench of runs that take exactly their costs would write."""
    rows = [
        {"site": site.name, "branch": branch, "cost_ms": costs.branches[i][k]}
        for i, site in enumerate(plan.sites)
        for k, branch in enumerate(site.branches)
    ]
    subject = {"name": "cpu", "model": {"base_ms": costs.base, "branches": rows}}
    return {"tool": "bench", "subjects": [subject, {"name": "qnn", "model": None}]}


@pytest.fixture
def plan() -> rr.Plan:
    return random_plan("independent", np.random.default_rng(0))


@pytest.fixture
def figures(plan: rr.Plan) -> Figures:
    return figures_of(plan, random_costs(plan, np.random.default_rng(1)))


def test_costs_are_those_of_the_file(plan: rr.Plan, figures: Figures, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(figures))
    wanted = random_costs(plan, np.random.default_rng(1))
    assert rr.Costs.from_bench(file, plan) == rr.Costs.from_bench(figures, plan) == wanted


def rows_of(figures: Figures) -> list[dict[str, Any]]:
    """Returns what the figures say of branches."""
    rows: list[dict[str, Any]] = figures["subjects"][0]["model"]["branches"]
    return rows


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda f: f.update(tool="place"),
            r"bench: expected the figures that rr-export bench --json writes, got others",
        ),
        (
            lambda f: f["subjects"][0].pop("model"),
            r"bench: expected the figures that rr-export bench --json writes, got others; measure",
        ),
        (
            lambda f: f["subjects"][0]["model"].pop("branches"),
            r"bench: expected the figures that rr-export bench --json writes",
        ),
        (lambda f: rows_of(f).pop(), r"bench: expected figures of the branches .* of site 's3', got"),
        (
            lambda f: rows_of(f).append(rows_of(f)[0] | {"site": "s9"}),
            r"bench: expected sites of the plan alone, got s9; bench the plan's own bundle",
        ),
        (
            lambda f: f["subjects"].append(f["subjects"][0] | {"name": "cuda"}),
            r"bench: expected one form of which every branch was timed \(cpu, cuda\), got None; name one of them",
        ),
        (lambda f: f["subjects"][0].update(model=None), r"every branch was timed \(there is none\), got None"),
    ],
)
def test_other_figures_are_refused(
    plan: rr.Plan, figures: Figures, change: Callable[[Figures], None], text: str
) -> None:
    rr.Costs.from_bench(figures, plan)
    change(figures)
    with pytest.raises(ValueError, match=text):
        rr.Costs.from_bench(figures, plan)


def test_a_form_is_named(plan: rr.Plan, figures: Figures) -> None:
    figures["subjects"].append({"name": "cuda", "model": {"base_ms": 99.0, "branches": rows_of(figures)}})
    assert rr.Costs.from_bench(figures, plan, form="cuda").base == 99.0
    with pytest.raises(ValueError, match=r"got 'qnn'; name one of them"):
        rr.Costs.from_bench(figures, plan, form="qnn")


def test_what_is_no_file_of_figures_is_refused(plan: rr.Plan, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b.json: expected the figures that .* --json writes, got .*o such"):
        rr.Costs.from_bench(tmp_path / "b.json", plan)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b.json: expected the figures that .* --json writes, got Exp"):
        rr.Costs.from_bench(tmp_path / "b.json", plan)
