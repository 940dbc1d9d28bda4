"""What is gathered of a bundle: the map, the law of cost, chains, quality, importance, proofs, or what makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rr_export as rr
from rr_export.overview.branch_worth import Worths
from rr_export.overview.chain_steps import Chain
from rr_export.overview.cost_curves import MOST_POINTS, CostCurves
from rr_export.overview.gathered import Overview, overview_of
from rr_export.overview.path_quality import QualityPoints
from rr_export.overview.section import Absent, Section
from rr_export.overview.site_map import MapSite, SiteMap, site_tree
from rr_runtime.strict_json import strict_json
from tests import nets
from tests.cli.test_help import parsed
from tests.overview.known import HOSTILE, bare, files_of, learned, plain
from tests.quality.toys import toy_costs

KEYS = ("model", "cost", "quality", "importance", "chains", "parity", "survival", "conformance", "contract")


def section(overview: Overview, key: str) -> Section:
    return next(found for found in overview.sections if found.key == key)


def told(found: Section) -> str:
    return " ".join(found.says)


@pytest.fixture(scope="module")
def everything(rich: Path) -> Overview:
    return overview_of(rr.load(rich), files_of(rich), name="out")


@pytest.fixture(scope="module")
def nothing() -> Overview:
    return overview_of(bare(), name="out")


def test_all_that_is_known_has_a_section_and_nothing_is_missing(everything: Overview) -> None:
    assert [found.key for found in everything.sections] == list(KEYS)
    missing = {found.key: found.absent for found in everything.sections if found.absent}
    assert missing.keys() == {"parity"}  # the profiles came after the proof
    assert "not proven: profile 25%" in missing["parity"].what
    assert everything.verdict.startswith("the same model, but for profile 25%") and everything.passed is None
    drawn = [type(thing) for found in everything.sections for thing in found.drawn]
    assert drawn == [SiteMap, CostCurves, QualityPoints, Worths, Chain]


def test_what_is_not_known_is_told_with_a_command_that_is_taken(nothing: Overview) -> None:
    assert [found.key for found in nothing.sections] == list(KEYS)
    missing = {found.key: found.absent for found in nothing.sections if found.absent}
    assert missing.keys() == {"cost", "quality", "importance", "parity", "survival", "conformance"}
    for absent in missing.values():
        assert "\n" not in str(absent) and absent.command in str(absent)
        parsed(absent.command.partition(" > ")[0])
    assert str(Absent("No.", "make it", "it.json")) == "No. To have it: make it; name it.json after the bundle then"
    assert (nothing.verdict, nothing.passed) == ("not proven", None)


def test_a_command_that_is_not_taken_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed("rr-export bench out --jsn bench.json")


def test_a_model_without_sites_has_no_sections_of_paths() -> None:
    found = overview_of(plain(), name="out")
    assert [part.key for part in found.sections] == ["model", "cost", "parity", "survival", "conformance", "contract"]
    assert "no sites" in told(section(found, "model")) and "costs the same" in told(section(found, "cost"))


def flat(sites: tuple[MapSite, ...]) -> Iterator[tuple[str, MapSite]]:
    for site in sites:
        yield "", site
        for branch in site.branches:
            yield from ((around or f"{site.name}: {branch.name}", inner) for around, inner in flat(branch.inside))


def test_sites_stand_inside_the_branches_that_call_them(everything: Overview) -> None:
    (drawn,) = section(everything, "model").drawn
    assert isinstance(drawn, SiteMap) and drawn.unit == "ms"
    places = [(around, site.name) for around, site in flat(drawn.sites)]
    assert places[:3] == [("", "first"), ("", "second"), ("", "op")]
    assert places[3][0] == "op: deep" and len(places) == 4
    chances = [[branch.probability for branch in site.branches] for _, site in flat(drawn.sites)]
    assert np.allclose([chances[0], chances[1], chances[2]], [[0.3, 0.7], [0.45, 0.55], [0.4, 0.6]])
    assert [site.reached for _, site in flat(drawn.sites)] == pytest.approx([1, 1, 1, 0.6])


def test_a_site_that_is_called_in_several_places_is_told_once() -> None:
    plan = rr.Plan(
        [
            rr.Site("a", ("x", "y"), rr.Uniform(2)),
            rr.Site("b", ("x", "y"), rr.Uniform(2), calls=(((0, 0),), ((0, 1),), ())),
            rr.Site("c", ("x", "y"), rr.Uniform(2), calls=(((0, 0), (1, 1)), ((0, 1), (1, 1)), ((1, 1),))),
        ]
    )
    found = [(around, site.name, len(site.branches)) for around, site in flat(site_tree(plan, None))]
    assert found == [("", "a", 2), ("a: x", "b", 2), ("b: y", "c", 2), ("a: y", "b", 0), ("", "b", 0)]


def test_the_law_of_cost_is_that_of_all_paths(nothing: Overview) -> None:
    (curves,) = section(nothing, "cost").drawn
    assert isinstance(curves, CostCurves)
    plan, costs = nothing.inspection.plan, bare().costs("flops")
    chances: dict[float, float] = {}
    for path in plan.paths():
        chances[costs.of(path)] = chances.get(costs.of(path), 0.0) + plan.probability(path)
    (own,) = curves.curves
    assert own.values == tuple(sorted(chances))
    assert np.allclose(own.below, np.cumsum([chances[value] for value in sorted(chances)]))
    assert own.mean == pytest.approx(sum(value * chance for value, chance in chances.items()))
    assert "FLOPs of products and convolutions" in told(section(nothing, "cost"))
    assert "nothing was measured" in told(section(nothing, "cost"))


def test_measured_costs_go_before_counted_ones_and_say_how_far_they_are_off(everything: Overview) -> None:
    found = section(everything, "cost")
    (curves,) = found.drawn
    assert isinstance(curves, CostCurves) and curves.unit == "ms" and curves.source == "measured, default on cpu"
    kinds = [curve.kind for curve in curves.curves]
    assert kinds == ["own", "timed", *["profile"] * (len(kinds) - 2)] and f"profile {HOSTILE}" in [
        curve.name for curve in curves.curves
    ]
    assert "Milliseconds, measured: 10 rounds" in told(found) and "off on average" in told(found)


def test_parameters_are_counted_where_no_branch_adds_the_flops() -> None:
    found = section(overview_of(rr.export(nets.everything(), (nets.example(),), golden=0), name="out"), "cost")
    assert not found.drawn or found.drawn[0].unit in ("FLOPs", "parameters", "bytes")
    assert found.drawn or "No costs of branches can be told" in told(found)


def test_a_long_law_keeps_its_ends_and_is_nowhere_off_by_more_than_a_step() -> None:
    from rr_export.overview.cost_curves import cost_curves
    from rr_export.overview.costs_known import KnownCosts

    plan = rr.Plan([rr.Site(f"s{i}", ("skip", "run"), rr.Uniform(2)) for i in range(12)])
    costs = toy_costs(tuple(2.0**i for i in range(12)))
    (curve,) = cost_curves(plan, KnownCosts(costs, "", ()), {}).curves
    law = costs.law(plan)
    assert len(curve.values) <= MOST_POINTS < len(law.values)
    assert (curve.values[0], curve.values[-1], curve.below[-1]) == (law.values[0], law.values[-1], pytest.approx(1))
    assert max(np.diff((0.0, *curve.below))) < 2 / (MOST_POINTS - 2)


def test_the_input_decides_and_that_is_said() -> None:
    found = overview_of(rr.export(nets.gated(), (nets.example(),), golden=0), name="out")
    (drawn,) = section(found, "model").drawn
    assert "there is no table of probabilities" in told(section(found, "model"))
    gates = [site for _, site in flat(drawn.sites) if site.drawn.startswith("by the input")]
    assert len(gates) == 2 and all(branch.probability is None for site in gates for branch in site.branches)
    assert any(site.reached is None for _, site in flat(drawn.sites)) or gates[0].reached == 1
    assert "every branch counts as equally likely" in told(section(found, "cost")) or not section(found, "cost").drawn
    assert strict_json(found.to_json())


def test_what_was_learned_is_a_law_as_any_other() -> None:
    found = overview_of(learned(), name="out")
    (drawn,) = section(found, "model").drawn
    assert [site.drawn for site in drawn.sites] == ["by itself", "step 0 of a chain", "step 1 of a chain"]
    assert all(branch.probability == pytest.approx(0.5) for site in drawn.sites for branch in site.branches)
    assert len(section(found, "chains").drawn) == 1


def test_chains_have_their_transitions_and_marginals(everything: Overview) -> None:
    (chain,) = section(everything, "chains").drawn
    assert isinstance(chain, Chain) and [step.site for step in chain.steps] == ["first", "second"]
    assert np.allclose(chain.steps[1].transitions, [[0.1, 0.9], [0.6, 0.4]])
    assert np.allclose(chain.steps[1].marginals, np.array([0.3, 0.7]) @ np.array(chain.steps[1].transitions))
    assert "No site follows another" in told(section(overview_of(bare(), name="out"), "chains"))


def test_quality_is_that_of_the_search_or_of_the_kept_values(rich: Path, everything: Overview) -> None:
    (points,) = section(everything, "quality").drawn
    assert isinstance(points, QualityPoints) and points.metric == HOSTILE and len(points.paths) == 12
    assert {profile.name for profile in points.profiles} >= {HOSTILE, "25%"}
    kept = section(overview_of(rr.load(rich), [rich.parent / "values.jsonl"], name="out"), "quality")
    one, other = (sorted((p.share, p.quality) for p in found.paths) for found in (kept.drawn[0], points))
    assert np.allclose(one, other)
    front = rr.Front.load(rich.parent / "front.json")
    plan = rr.load(rich).plan
    mean = sum(plan.probability(path.path) * path.quality for path in front.evaluated)
    assert f"is {mean:.4g} on average" in told(kept)
    only = section(overview_of(rr.load(rich), name="out"), "quality")
    assert not only.drawn[0].paths and only.drawn[0].profiles and only.absent and "single paths" in only.absent.what


def test_metrics_that_are_several_are_no_order(rich: Path) -> None:
    bundle = rr.load(rich).with_profile("f1", [1, 1, 1, 1], measured=rr.Measured(1.0, 9.0, 0.0, "f1"))
    found = section(overview_of(bundle, name="out"), "quality")
    assert "Several metrics" in told(found)
    assert "f1" not in [profile.name for profile in found.drawn[0].profiles]


def test_importance_is_the_attribution(rich: Path, everything: Overview) -> None:
    found = rr.Attribution.load(rich.parent / "attribution.json")
    (worths,) = section(everything, "importance").drawn
    assert [(row.site, row.value) for row in worths.rows] == [(row.site, row.value) for row in found.sites]
    assert sum(row.value for row in worths.rows) == pytest.approx(found.value - found.without)


def test_proofs_say_what_holds_and_what_fails(everything: Overview) -> None:
    (table,) = section(everything, "survival").tables
    cells = [[*column.cells] for column in table.columns]
    assert [cell.partition("]")[2] for cell in cells[1]] == ["the same model[/]", "NOT the same model[/]"]
    assert (cells[2] == ["1 of 1", "1 of 2"] and cells[3][1].startswith("paths: path \\[0]")) or "path" in cells[3][1]
    tables = section(everything, "conformance").tables
    assert len(tables) == 2 and [*tables[0].columns[0].cells] == ["cpu"]
    assert "hold" in tables[1].columns[4]._cells[0]
    assert "2 of 2 points hold" in told(section(everything, "parity"))


def test_a_proof_that_failed_is_told_as_such(rich: Path) -> None:
    bundle = rr.load(rich)
    bundle.parity = {**(bundle.parity or {}), "passed": False}
    bundle.parity["checks"] = [{**row, "passed": False} for row in bundle.parity["checks"]]
    found = overview_of(bundle, name="out")
    assert found.passed is False and "NOT the same model" in told(section(found, "parity"))
    bundle.parity = {"format": "rr.parity"}
    with pytest.raises(rr.RRExportError, match="parity: expected a report of rr-export verify, got KeyError"):
        overview_of(bundle, name="out")


def test_all_of_it_is_json(everything: Overview, nothing: Overview) -> None:
    for overview, key in itertools.product((everything, nothing), KEYS):
        told = overview.to_json()
        assert told["sections"][key]["title"] and strict_json(told)
    assert everything.to_json()["sections"]["chains"]["drawn"][0]["kind"] == "Chain"
    assert {"sites", "contract", "profiles"} <= everything.to_json().keys()
