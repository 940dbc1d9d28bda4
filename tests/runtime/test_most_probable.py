"""The most probable path of a manifest's sites is the one that trying all of them finds."""

from __future__ import annotations

import itertools
import math

import pytest

from rr_runtime.manifest import Manifest
from rr_runtime.most_probable import most_probable_of, most_probable_path
from rr_runtime.routes import Router
from rr_runtime.site_law import Site

from . import handmade
from .test_vectors import PLANS, sites_of

FEW = 20_000  # combinations that are tried


def all_probabilities(sites: tuple[Site, ...]) -> dict[tuple[int, ...], float]:
    """P of every reported path, by all latent routes."""
    steps = {(s.policy.chain, s.policy.step): i for i, s in enumerate(sites) if s.policy.chain is not None}
    router, found = Router(sites), dict[tuple[int, ...], float]()
    for latent in itertools.product(*(range(len(site.branches)) for site in sites)):
        p = 1.0
        for i, site in enumerate(sites):
            step = site.policy.step or 0
            row = latent[steps[site.policy.chain, step - 1]] if step else 0
            p *= site.policy.probabilities[row][latent[i]]
        path = tuple(router.taken(list(latent)))
        found[path] = found.get(path, 0.0) + p
    return found


SMALL = [
    name
    for name, (_, plan) in PLANS.items()
    if plan["repeat"] == 1
    and math.prod(len(plan["tables"][site["table"]]["probabilities"][0]) for site in plan["sites"]) <= FEW
]


@pytest.mark.parametrize("name", SMALL)
def test_no_path_is_more_probable(name: str) -> None:
    rows = sites_of(PLANS[name][1])
    sites = Manifest.parse({**handmade.manifest(), "sites": rows}).sites
    law = all_probabilities(sites)
    best = most_probable_of(sites)
    assert law[best] >= max(law.values()) * (1 - 1e-9)
    assert math.fsum(law.values()) == pytest.approx(1)


def test_plans_that_are_tried_are_nested_and_chained() -> None:
    assert len(SMALL) >= 10 and {"nested", "a chain through branches", "called from several places"} <= set(SMALL)


def test_the_path_is_not_that_of_each_site_alone() -> None:
    """Site 0 has its likelier branch 0, but branch 1 forks less: .4 * .9 is more than .6 * .5."""
    content = handmade.manifest()
    laws = ([0.6, 0.4], [0.5, 0.5], [0.1, 0.9])
    for i, (site, law) in enumerate(zip(content["sites"], laws, strict=True)):
        site["policy"] = {"type": "categorical", "probabilities": [law], "thresholds": [[law[0]]]}
        site |= {"branches": ["a", "b"], "calls": [[]] if i == 0 else [[[0, i - 1]]]}
    sites = Manifest.parse(content).sites
    assert most_probable_of(sites) == (1, -1, 1)
    assert max(all_probabilities(sites).items(), key=lambda item: item[1])[0] == (1, -1, 1)


def test_no_sites_have_the_empty_path() -> None:
    assert most_probable_of(()) == most_probable_path([], [], chains=[], order=[]) == ()
