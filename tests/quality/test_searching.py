"""Fronts: those of brute force where all paths are tried, and nearly those within a budget of evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rr_export as rr
from rr_export.quality.front import Front, PricedPath, layers_of, spread_out, undominated
from rr_export.quality.searching import METHODS, WALKS
from rr_runtime import Session
from rr_runtime.profile import Measured
from tests.quality.routed import batches, eager_values, margin, routed
from tests.quality.toys import BASE, COST, DATA, WORTH, known_front, toy, toy_bundle, toy_costs, worth

LARGE = ("greedy", "beam", "evolutionary", "auto")
COSTS = rr.Costs("ms", 1.0, ((0.0, 1.0), (0.0, 2.0), (0.5, 1.0), (0.0, 1.5)))


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle().save(tmp_path_factory.mktemp("toy") / "out")


@pytest.fixture(scope="module")
def truth() -> dict[tuple[int, ...], tuple[float, float]]:
    return known_front()


def front_of(points: dict[tuple[int, ...], tuple[float, float]]) -> set[tuple[int, ...]]:
    """Paths that no other one beats, by comparing each with each: (cost, quality)."""
    return {
        path
        for path, (cost, quality) in points.items()
        if not any(
            (c <= cost and q > quality) or (c < cost and q >= quality)
            for other, (c, q) in points.items()
            if other != path
        )
    }


@pytest.mark.parametrize("method", ["exact", "auto"])
@pytest.mark.parametrize("kind", ["file", "eager"])
def test_the_exact_front_is_that_of_brute_force(classifier: Path, method: str, kind: str) -> None:
    """Nested, with a chain: qualities by torch alone."""
    found = rr.search(classifier if kind == "file" else routed(), batches(), margin, COSTS, method=method)
    values = eager_values(routed())
    points = {
        path: (1.0 + sum(COSTS.branches[i][r] for i, r in enumerate(path) if r >= 0), float(rows.mean()))
        for path, rows in values.items()
    }
    assert {p.path for p in found.paths} == front_of(points)
    assert found.method == "exact" and len(found.evaluated) == found.path_count == 12
    assert {p.path: p.cost for p in found.evaluated} == pytest.approx({path: c for path, (c, _) in points.items()})
    assert {p.path: p.quality for p in found.evaluated} == pytest.approx(
        {path: q for path, (_, q) in points.items()}, abs=1e-6
    )
    assert {p.path: p.share for p in found.evaluated} == pytest.approx(
        {path: c / 6.5 for path, (c, _) in points.items()}
    )
    assert [p.cost for p in found.paths] == sorted(p.cost for p in found.paths)


@pytest.mark.parametrize("method", LARGE)
def test_large_plans_are_searched_within_the_budget(
    sums: Path, truth: dict[tuple[int, ...], tuple[float, float]], method: str
) -> None:
    """200 of 4096 paths; an additive model is all that is needed, and the beam finds all of the front."""
    found = rr.search(sums, DATA, worth, toy_costs(), method=method, evaluations=200)
    assert len(found.evaluated) <= 200 and len({p.path for p in found.evaluated}) == len(found.evaluated)
    assert found.method == (WALKS if method == "auto" else method)
    paths = {p.path for p in found.paths}
    least = {"greedy": 0.6, "beam": 1.0, "evolutionary": 0.8, "auto": 1.0}[method]
    assert len(paths & truth.keys()) >= least * len(truth)
    for path, (cost, value) in truth.items():  # at most a little below the front everywhere
        best = found.best(cost / (BASE + sum(COST)) * (1 + 1e-9))
        assert best.quality >= value - (0.0 if least == 1.0 else 0.25) - 1e-5, path


def test_the_sabotaged_search_does_not_find_it(sums: Path, truth: dict[tuple[int, ...], tuple[float, float]]) -> None:
    """As many paths drawn at random: the methods above do better than that."""
    random = np.random.default_rng(0).integers(0, 2, (200, len(WORTH)))
    drawn = rr.search(sums, DATA, worth, toy_costs(), evaluations=200, method="beam", start=random.tolist())
    assert len({p.path for p in drawn.paths} & truth.keys()) < 0.6 * len(truth)


def test_interactions_are_found_beyond_the_model() -> None:
    """Each layer also scales what came before; 10 sites, all 1024 paths are tried by torch for comparison."""
    model = toy(WORTH[:10], interaction=0.4)
    costs = toy_costs(COST[:10])
    exact = rr.search(model, DATA, worth, costs, method="exact")
    found = rr.search(model, DATA, worth, costs, evaluations=200)
    true = {p.path for p in exact.paths}
    assert len({p.path for p in found.paths} & true) >= 0.8 * len(true)
    assert found.paths[-1] == exact.paths[-1] and found.paths[0].path == exact.paths[0].path


@pytest.mark.parametrize("method", LARGE)
def test_a_seed_gives_the_same_front_whoever_works(sums: Path, method: str) -> None:
    one, two = (rr.search(sums, DATA, worth, toy_costs(), method=method, evaluations=60, jobs=j) for j in (1, 2))
    assert one == two
    assert rr.search(Session(sums), DATA, worth, toy_costs(), method=method, evaluations=60) == one


class Interrupted:
    """The metric, which is interrupted after some batches."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, outputs: Any, target: Any) -> Any:
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt
        return worth(outputs, target)

    def __getstate__(self) -> None:
        """All are the same metric."""


@pytest.mark.parametrize("method", LARGE)
def test_an_interrupted_search_goes_on_to_the_same_front(sums: Path, tmp_path: Path, method: str) -> None:
    results = tmp_path / "values.jsonl"
    given = {"method": method, "evaluations": 50, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        rr.search(sums, DATA, Interrupted(2 * 31), toy_costs(), results=results, **given)
    later = Interrupted(2 * 19)
    found = rr.search(sums, DATA, later, toy_costs(), results=results, **given)
    assert found == rr.search(sums, DATA, Interrupted(999), toy_costs(), **given)
    assert len(found.evaluated) == 50 and later.after == 0
    assert rr.search(sums, DATA, Interrupted(0), toy_costs(), results=results, **given) == found


def test_evaluate_finds_what_search_evaluated(classifier: Path, tmp_path: Path) -> None:
    results = tmp_path / "values.jsonl"
    rr.search(classifier, batches(), margin, COSTS, results=results)
    before = results.read_text()
    assert rr.evaluate(classifier, batches(), margin, results=results).std > 0
    assert results.read_text() == before


def test_progress_and_a_start_of_the_users(sums: Path) -> None:
    told: list[Any] = []
    start = [(1, 0) * 6]
    found = rr.search(
        sums, DATA, worth, toy_costs(), evaluations=40, start=start, progress=lambda *stage: told.append(stage)
    )
    assert found.evaluated[0].path == (1, 0) * 6
    assert [done for _, done, _ in told] == list(range(1, 41)) and {total for *_, total in told} == {40}


def test_a_menu_gives_a_run_the_best_within_its_budget(sums: Path, tmp_path: Path) -> None:
    front = rr.search(sums, DATA, worth, toy_costs(), evaluations=120)
    bundle = front.menu(rr.load(sums))
    assert list(bundle.profiles) == ["25%", "50%", "75%", "100%"]
    place = bundle.save(tmp_path / "menu")
    session = Session(place)
    for budget in (0.3, 0.5, 0.8, 1.0):
        result = session.run(DATA[0][0], budget=budget, seed=1)
        share = max(q for q in (0.25, 0.5, 0.75, 1.0) if q <= budget)
        assert result.path is not None and tuple(result.path.tolist()) == front.best(share).path
    told = session.profiles["50%"].measured
    assert told is not None and (told.cost, told.quality, told.spread, told.metric) == (
        *(front.best(0.5).share, front.best(0.5).quality, 0.0),
        "worth",
    )
    assert list(front.menu(rr.load(sums), [0.6, 0.333, 2.0]).profiles) == ["33.3%", "60%", "200%"]
    few = front.menu(rr.load(sums), [p.share for p in front.paths])
    assert len(few.profiles) == len(front.paths)


def test_a_menu_is_unproven_until_it_is_verified(sums: Path) -> None:
    bundle = rr.load(sums)
    bundle.write_parity({"passed": True, "checks": []})
    try:
        front = rr.search(sums, DATA, worth, toy_costs(), evaluations=60)
        assert "but for profile" in repr(front.menu(bundle, [1.0]))
    finally:
        (sums / "parity.json").unlink()


def priced(*points: tuple[float, float]) -> tuple[PricedPath, ...]:
    return tuple(PricedPath((i,), quality, None, cost, cost / 10) for i, (cost, quality) in enumerate(points))


def test_fronts_by_hand() -> None:
    paths = priced((1, 1), (2, 1), (2, 3), (2, 3), (3, 2), (4, 4), (1, 0))
    assert [p.path[0] for p in undominated(paths)] == [0, 2, 5]
    assert [[p.path[0] for p in layer] for layer in layers_of(paths)] == [[0, 2, 5], [6, 3], [1, 4]]
    line = priced((0, 0), (1, 1), (2, 2), (5, 5), (9, 9), (10, 10))
    assert [p.path[0] for p in spread_out(line, 4)] == [5, 0, 3, 4]  # the ends, then the loneliest
    front = Front("q", "ms", "exact", paths, 7)
    assert front.best(0.25).path == (2,) and front.best(0.1).path == (0,) and front.best(9).path == (5,)
    assert repr(front) == "Front(3 of 7 evaluated paths of 7: q 1 at 10% to 4 at 40% ms)"
    assert "all of 7 paths evaluated (exact)" in str(front)
    told = json.loads(json.dumps(front.to_json()))
    assert told["format"] == "rr.front" and [row["path"] for row in told["paths"] if row["front"]] == [[0], [2], [5]]
    with pytest.raises(
        ValueError, match=r"share: expected at least 0\.1, the cheapest path that was evaluated, got 0.05"
    ):
        front.best(0.05)
    with pytest.raises(ValueError, match="share: expected one above 0, got -1"):
        front.best(-1)
    with pytest.raises(ValueError, match="shares: expected some, got none"):
        front.menu(rr.Bundle, [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"method": "random"}, ValueError, f"method: expected one of {', '.join(METHODS)}, got 'random'"),
        ({"costs": 7}, TypeError, "costs: expected rr_export.Costs, got int"),
        ({"costs": toy_costs()}, ValueError, "costs: expected numbers for sites of"),
        ({"evaluations": 3}, ValueError, "evaluations: expected an integer of at least 4, got 3"),
        (
            {"evaluations": 11, "method": "exact"},
            ValueError,
            "evaluations: expected all 12 paths for the method 'exact'",
        ),
        ({"start": [[0, 0, 0, 0]]}, ValueError, "profile: expected a path that a run reports"),
        ({"seed": 0.5}, TypeError, "seed: expected an integer"),
    ],
)
def test_wrong_arguments_of_a_search_are_told(
    classifier: Path, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments = {"subject": classifier, "data": batches(), "metric": margin, "costs": COSTS} | given
    with pytest.raises(error, match=text):
        rr.search(**arguments)


def test_a_menu_takes_the_place_of_an_earlier_one_alone(sums: Path) -> None:
    front = rr.search(sums, DATA, worth, toy_costs(), evaluations=60)
    bundle = rr.load(sums)
    law = rr.evaluate(sums, DATA, worth, runs=9).measured(toy_costs())
    bundle = bundle.with_profile("law", bundle.plan, measured=law).with_profile("one", front.paths[0].path)
    once = front.menu(bundle, [0.6, 0.8])
    assert list(front.menu(once, [0.7]).profiles) == ["law", "one", "70%"]
    other = bundle.with_profile("law", bundle.plan, measured=Measured(0.5, 1.0, 0.0, "f1"))
    with pytest.raises(ValueError, match="menu: expected profiles measured by 'worth', got 'law' by 'f1'"):
        front.menu(other)


def test_bug_a_share_above_the_whole_by_rounding_was_beyond_a_budget_of_one() -> None:
    """Costs whose sums depend on the order in which they are added."""
    model, costs = toy(WORTH[:8]), toy_costs([0.1, 0.2, 0.3, 0.7, 1e-9, 1e9, 1 / 3, 2 / 3])
    found = rr.search(model, DATA, worth, costs)
    assert max(p.share for p in found.evaluated) <= 1.0
    dearest = rr.evaluate(model, DATA, worth, paths=[(1,) * 8]).measured(costs)
    assert dearest.cost <= 1.0 and found.best(1.0) == found.paths[-1]


def test_bug_what_the_beam_leaves_is_searched_too() -> None:
    """Where its model holds nothing more for the front, the beam alone ends long before."""
    sites = 8
    model = toy(WORTH[:sites])
    found = {
        method: rr.search(model, DATA, worth, toy_costs(COST[:sites]), evaluations=150, method=method)
        for method in ("auto", "beam")
    }
    assert len(found["auto"].evaluated) == 150 > len(found["beam"].evaluated)
