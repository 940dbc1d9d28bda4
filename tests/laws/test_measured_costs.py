"""Costs from the figures of ``rr-export bench``, which here are made of costs that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rr_export as rr
from tests.laws.random_plans import KINDS, random_costs, random_plan

Figures = dict[str, Any]


def figures_of(plan: rr.Plan, costs: rr.Costs, usual: list[int]) -> Figures:
    """Returns what a bench of runs that take exactly their costs would write."""
    rows = [
        {
            "site": site.name,
            "branch": branch,
            "instead_of": site.branches[usual[i]],
            "cost_ms": [None, costs.branches[i][k] - costs.branches[i][usual[i]], None],
        }
        for i, site in enumerate(plan.sites)
        for k, branch in enumerate(site.branches)
        if k != usual[i]
    ]
    base = costs.base + sum(row[k] for row, k in zip(costs.branches, usual, strict=True))
    subject = {"name": "cpu", "branches": rows, "model": {"base_ms": base}}
    return {"tool": "bench", "subjects": [subject, {"name": "qnn", "branches": [], "model": None}]}


@pytest.fixture
def plan() -> rr.Plan:
    return random_plan("independent", np.random.default_rng(0))


@pytest.fixture
def figures(plan: rr.Plan) -> Figures:
    return figures_of(plan, random_costs(plan, np.random.default_rng(1)), [0] * len(plan.sites))


@pytest.mark.parametrize("kind", ["independent", "chain"])
def test_paths_cost_what_they_took(kind: str, tmp_path: Path) -> None:
    """Where every site is reached, what is more than the usual path is what the branches differ by."""
    rng = np.random.default_rng(KINDS.index(kind))
    plan = random_plan(kind, rng)
    truth = random_costs(plan, rng)
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(figures_of(plan, truth, [int(k) for k in rng.integers(0, 2, len(plan.sites))])))
    costs = rr.Costs.from_bench(file, plan)
    assert costs.unit == "ms"
    for path in plan.paths():
        assert costs.of(path) == pytest.approx(truth.of(path), rel=1e-12)


def test_a_site_of_one_branch_costs_nothing_more() -> None:
    plan = rr.Plan([rr.Site("one", ("only",), rr.Uniform(1)), rr.Site("two", ("a", "b"), rr.Uniform(2))])
    costs = rr.Costs.from_bench(figures_of(plan, rr.Costs("ms", 1.0, ((2.0,), (0.0, 3.0))), [0, 1]), plan)
    assert costs.branches == ((0.0,), (-3.0, 0.0)) and costs.base == 6.0


def _without(name: str) -> Callable[[Figures], None]:
    def change(figures: Figures) -> None:
        del figures["subjects"][0][name]

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda f: f.update(tool="place"),
            r"bench: expected the figures that rr-export bench --json writes, got others",
        ),
        (_without("model"), r"bench: expected the figures that rr-export bench --json writes, got others; measure"),
        (_without("branches"), r"bench: expected the figures that rr-export bench --json writes"),
        (lambda f: f["subjects"][0]["branches"].pop(), r"bench: expected figures of the branches .* of site 's3', got"),
        (
            lambda f: f["subjects"][0]["branches"].append(f["subjects"][0]["branches"][0] | {"site": "s9"}),
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
    figures["subjects"].append(figures["subjects"][0] | {"name": "cuda", "model": {"base_ms": 99.0}})
    assert rr.Costs.from_bench(figures, plan, form="cuda").base == 99.0
    with pytest.raises(ValueError, match=r"got 'qnn'; name one of them"):
        rr.Costs.from_bench(figures, plan, form="qnn")


def test_what_is_no_file_of_figures_is_refused(plan: rr.Plan, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b.json: expected the figures that .* --json writes, got .*o such"):
        rr.Costs.from_bench(tmp_path / "b.json", plan)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b.json: expected the figures that .* --json writes, got Exp"):
        rr.Costs.from_bench(tmp_path / "b.json", plan)
