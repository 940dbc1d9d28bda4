"""Profiles that came, went, are another law or were measured again are changes of laws."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.diff.structure_changes import compare_laws


def made(layers: str = "[0-2]") -> rr.Bundle:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4))).eval()
    rr.route_layers(model, layers, keep=0.5)
    return rr.export(model, (torch.ones(1, 2),), golden=0)


MEASURED = rr.Measured(0.6, 0.8, 0.1, "f1")


@pytest.fixture(scope="module")
def bundle() -> rr.Bundle:
    made_once = made()
    tenth = made_once.plan.with_policies([rr.Categorical([0.1, 0.9])] * 3)
    return made_once.with_profile("law", tenth, measured=MEASURED).with_profile("path", [1, 0, 1])


def without(bundle: rr.Bundle, name: str) -> rr.Bundle:
    return dataclasses.replace(bundle, profiles={k: p for k, p in bundle.profiles.items() if k != name})


def law_of(bundle: rr.Bundle) -> rr.Plan:
    law = bundle.profiles["law"].law
    assert law is not None
    return law


def chain(bundle: rr.Bundle, *order: int) -> rr.Plan:
    """Sites in this order are the steps of a chain whose later steps have the same rows."""
    law = rr.Markov([0.5, 0.5], [[[0.9, 0.1], [0.3, 0.7]]] * 2)
    names = [site.name for site in bundle.plan.sites]
    return bundle.plan.with_policies({names[site]: law.step(t) for t, site in enumerate(order)})


@pytest.mark.parametrize(
    ("change", "details"),
    [
        (lambda b: b, ()),
        (lambda b: without(b, "path"), ("- profile path: path 1,0,1",)),
        (lambda b: b.with_profile("new", [0, 0, 0]), ("+ profile new: path 0,0,0",)),
        (lambda b: b.with_profile("path", [1, 1, 1]), ("profile path: path 1,0,1 -> path 1,1,1",)),
        (
            lambda b: b.with_profile(
                "law", b.profiles["law"].law.with_policies({"1": rr.Uniform(2)}), measured=MEASURED
            ),
            ("profile law: 1: [0.1 0.9] -> [0.5 0.5]",),
        ),
        (
            lambda b: b.with_profile("law", [0, 0, 0], measured=MEASURED),
            ("profile law: [0.1 0.9] at all sites -> path 0,0,0",),
        ),
        (
            lambda b: b.with_profile("law", law_of(b)),
            ("profile law: Measured(cost 0.6, quality 0.8 +- 0.1, f1) -> not measured",),
        ),
    ],
)
def test_what_changed_of_profiles_is_told_and_nothing_else(bundle: rr.Bundle, change: Any, details: Any) -> None:
    found = compare_laws(bundle, change(bundle))
    assert (found.changed, found.details) == (bool(details), details)
    assert found.summary.startswith(
        f"3 sites in both, 0 with another law; 2 -> {len(change(bundle).profiles)} profiles"
    )


def test_a_chain_of_the_same_rows_in_another_order_is_another_law(bundle: rr.Bundle) -> None:
    one, other = (bundle.with_profile("chain", chain(bundle, *order)) for order in ((0, 1, 2), (0, 2, 1)))
    assert not compare_laws(one, one).changed
    found = compare_laws(one, other).details
    row = "[0.9 0.1; 0.3 0.7] after"
    assert found == (f"profile chain: 1: {row} 0 -> {row} 2; 2: {row} 1 -> {row} 0",)


def test_bundles_without_profiles_say_nothing_of_them() -> None:
    assert compare_laws(made(), made()).summary == "3 sites in both, 0 with another law"


def test_profiles_are_compared_at_the_sites_that_both_have(bundle: rr.Bundle) -> None:
    fewer = made("[01]")
    fewer = fewer.with_profile("law", fewer.plan.with_policies([rr.Categorical([0.1, 0.9])] * 2), measured=MEASURED)
    assert not compare_laws(bundle, fewer.with_profile("path", [1, 0])).changed
    assert compare_laws(bundle, fewer.with_profile("path", [1, 1])).changed
