"""What sites are worth: on models whose games are known by arithmetic, and by brute force over forced runs."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from tests.quality.routed import batches, eager_values, margin, routed
from tests.quality.test_shapley import by_orders
from tests.quality.toys import DATA, WORTH, toy, toy_bundle, worth

FACTORS = (0.5, -0.25, 0.8, 0.1)
KEEP = 0.7


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + self.factor)


class Product(nn.Module):
    """1 times the factors of the layers that run."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(rr.LayerChoice(Scaled(factor), KEEP) for factor in FACTORS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 0.0 + 1.0
        for layer in self.layers:
            y = layer(y)
        return y


def product(outputs: Any, target: Any) -> Any:
    return next(iter(outputs.values()))[:, 0]


def test_sites_that_add_up_are_worth_what_they_add() -> None:
    """Beside a baseline of skips; beside the law, the part of it that is not there anyway."""
    bundle = toy_bundle(WORTH[:8])
    skips = rr.attribute(bundle, DATA, worth, baseline=[0] * 8)
    assert skips.path == (1,) * 8 and skips.permutations is None
    assert [site.value for site in skips.sites] == pytest.approx(WORTH[:8], abs=1e-5)
    assert [(site.branch, site.error) for site in skips.sites] == [("run", None)] * 8
    assert [row.change for row in skips.ablations] == pytest.approx([-number for number in WORTH[:8]], abs=1e-5)
    assert {(row.branch, row.instead_of) for row in skips.ablations} == {("skip", "run")}
    assert skips.interactions is not None and max(abs(pair.value) for pair in skips.interactions) < 1e-5
    law = rr.attribute(bundle, DATA, worth)
    assert [site.value for site in law.sites] == pytest.approx([(1 - KEEP) * n for n in WORTH[:8]], abs=1e-5)
    assert law.without == pytest.approx(rr.evaluate(bundle, DATA, worth).mean, abs=1e-6)
    assert law.value - law.without == pytest.approx(sum(site.value for site in law.sites), abs=1e-6)


def test_a_product_has_the_dividends_of_its_factors() -> None:
    """The part of each set of players beyond its subsets is the product of their factors."""
    found = rr.attribute(Product().eval(), DATA, product, baseline=[0] * 4)
    sets = [s for size in range(1, 5) for s in itertools.combinations(range(4), size)]
    dividends = {s: math.prod(FACTORS[i] for i in s) for s in sets}
    for i, site in enumerate(found.sites):
        assert site.value == pytest.approx(sum(d / len(s) for s, d in dividends.items() if i in s), abs=1e-6)
    names = [site.site for site in found.sites]
    assert found.interactions is not None and len(found.interactions) == 6
    for pair in found.interactions:
        i, j = map(names.index, pair.sites)
        expected = sum(d / (len(s) - 1) for s, d in dividends.items() if i in s and j in s)
        assert pair.value == pytest.approx(expected, abs=1e-6)
    assert found.without == pytest.approx(1.0) and found.value == pytest.approx(math.prod(1 + f for f in FACTORS))


def by_intervention(path: tuple[int, ...], forced: set[int], values: dict[tuple[int, ...], float]) -> float:
    """The mean of the classifier's metric where some sites are forced: by its policies, written out."""
    total = 0.0
    for latent in itertools.product((0, 1), repeat=4):
        if any(latent[i] != path[i] for i in forced):
            continue
        first, second, op, inner = latent
        chances = [[0.3, 0.7][first], [[0.1, 0.9], [0.6, 0.4]][first][second], [0.4, 0.6][op], [0.2, 0.8][inner]]
        weight = math.prod(chance for i, chance in enumerate(chances) if i not in forced)
        total += weight * values[(first, second, op, inner if op else -1)]
    return total


@pytest.mark.parametrize("path", [(1, 0, 1, 1), (0, 1, 0, -1)])
def test_beside_the_law_later_steps_of_a_chain_follow_forced_ones(classifier: Path, path: tuple[int, ...]) -> None:
    values = {p: float(rows.mean()) for p, rows in eager_values(routed()).items()}
    players = [i for i in range(4) if path[i] >= 0]
    game = np.array(
        [
            by_intervention(path, {s for bit, s in enumerate(players) if mask >> bit & 1}, values)
            for mask in range(1 << len(players))
        ]
    )
    found = rr.attribute(classifier, batches(), margin, path=path)
    assert [site.value for site in found.sites] == pytest.approx(by_orders(game, len(players)), abs=1e-6)
    assert (found.value, found.without) == pytest.approx((values[path], game[0]), abs=1e-6)
    assert found.paths == 12
    changed = {(row.site, row.branch): row.change for row in found.ablations}
    assert changed["first", "run" if path[0] == 0 else "skip"] == pytest.approx(
        values[(1 - path[0], *path[1:])] - values[path], abs=1e-6
    )
    if path[2] == 0:  # what is reached only then takes its most probable route
        assert changed["op", "deep"] == pytest.approx(values[(*path[:2], 1, 1)] - values[path], abs=1e-6)


@pytest.mark.parametrize("baseline", [None, [0] * 6])
def test_sampled_values_are_those_of_all_coalitions_within_their_errors(baseline: list[int] | None) -> None:
    """Within 4.5 standard errors of 6 sites: a false alarm in one of 10,000 such tests, were errors normal."""
    model = toy(WORTH[:6], interaction=0.5)
    exact = rr.attribute(model, DATA, worth, baseline=baseline)
    found = rr.attribute(model, DATA, worth, baseline=baseline, permutations=200, seed=1)
    assert found.permutations == 200 and found.interactions is None
    for sampled, true in zip(found.sites, exact.sites, strict=True):
        assert sampled.error is not None and 0 < sampled.error < 0.3
        assert abs(sampled.value - true.value) < 4.5 * sampled.error
    assert sum(site.value for site in found.sites) == pytest.approx(found.value - found.without, abs=1e-6)
    assert found.ablations == exact.ablations and found.paths <= 64
    again = rr.attribute(model, DATA, worth, baseline=baseline, permutations=200, seed=1)
    assert again == found


def test_the_sabotaged_errors_would_not_hold() -> None:
    """A sampled value of another game is many errors away."""
    exact = rr.attribute(toy(WORTH[:6], interaction=0.5), DATA, worth, baseline=[0] * 6)
    other = rr.attribute(toy(WORTH[:6]), DATA, worth, baseline=[0] * 6, permutations=50)
    assert max(abs(a.value - b.value) for a, b in zip(exact.sites, other.sites, strict=True)) > 0.1


def test_many_sites_are_sampled_without_being_asked() -> None:
    model = toy([0.1 * k for k in range(13)])
    found = rr.attribute(model, DATA, worth, baseline=[0] * 13)
    assert found.permutations == 64 and [site.value for site in found.sites] == pytest.approx(
        [0.1 * k for k in range(13)], abs=1e-5
    )
    assert max(site.error or 0.0 for site in found.sites) < 1e-5  # it adds up in every order


def test_values_are_shared_with_the_other_functions(classifier: Path, tmp_path: Path) -> None:
    results = tmp_path / "values.jsonl"
    rr.evaluate(classifier, batches(), margin, results=results)
    before = results.read_text()
    one = rr.attribute(classifier, batches(), margin, results=results)
    assert results.read_text() == before
    assert rr.attribute(classifier, batches(), margin, jobs=2) == one


def test_what_is_shown(classifier: Path) -> None:
    found = rr.attribute(classifier, batches(), margin)
    text, told = str(found), json.loads(json.dumps(found.to_json()))
    assert "Shapley values (exact)" in text and "Shapley interaction indices" in text and "op.branches.1.1" in text
    assert told["format"] == "rr.attribution" and len(told["ablations"]) == 4 and len(told["sites"]) == 4
    assert repr(found).startswith("Attribution(margin ")
    sampled = rr.attribute(classifier, batches(), margin, permutations=2)
    assert "2 permutations, standard errors in brackets" in str(sampled)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"permutations": 1}, "permutations: expected an integer of at least 2, got 1"),
        ({"path": [0, 0, 0, 0]}, "profile: expected a path that a run reports"),
        ({"baseline": [0, 0, 0, -1]}, "baseline: expected a route for every site, got -1 for 'op.branches.1.1'"),
        ({"baseline": [0, 0]}, "path: expected 4 integers, one per site"),
    ],
)
def test_wrong_arguments_of_an_attribution_are_told(classifier: Path, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        rr.attribute(classifier, batches(), margin, **given)
