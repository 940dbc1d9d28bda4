"""The routes that the runtime decides on the host are what the known-answer vectors say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rr_runtime.draws import draws_as_floats
from rr_runtime.manifest import Manifest
from rr_runtime.routes import Router

from . import handmade
from .test_vectors import path_of, read, sites_of


def manifest_of(name: str, plan: str) -> Manifest:
    row = next(row for row in read(name)["plans"] if row["name"] == plan)
    return Manifest.parse({**handmade.manifest(), "sites": sites_of(row)})


@pytest.mark.parametrize("name", ["paths", "markov"])
def test_routes_are_those_of_the_vectors(name: str) -> None:
    routers = {row["name"]: Router(manifest_of(name, row["name"]).sites) for row in read(name)["plans"]}
    for case in read(name)["cases"]:
        router = routers[case["plan"]]
        asked = path_of(case["path"])
        latent = router.latent(draws_as_floats(int(case["seed"]), len(asked)), asked)
        assert latent == path_of(case["routes"]), case
        assert router.taken(latent) == path_of(case["taken"]), case


def test_routes_are_those_of_the_hand_made_model() -> None:
    router = Router(Manifest.parse(handmade.manifest()).sites)
    for seed in range(200):
        latent = router.latent(draws_as_floats(seed, 3))
        assert latent == router.latent(draws_as_floats(seed, 3), [-1, -1, -1]) == handmade.routes(seed)
        assert router.taken(latent) == handmade.reported(handmade.routes(seed))


def test_thresholds_are_float32() -> None:
    """A draw is on the side of a threshold on which it is in float32: 0.1 is a little more there."""
    (site,) = Manifest.parse({**handmade.manifest(), "sites": [handmade.SITES[0] | {"name": "one"}]}).sites
    policy = replace(site.policy, thresholds=((0.1, 0.5),))
    router = Router([replace(site, policy=policy)])
    assert router.latent([0.1]) == [0] and router.latent([float(np.float32(0.1))]) == [1]


def test_asked_path_is_not_changed() -> None:
    router = Router(Manifest.parse(handmade.manifest()).sites)
    asked = [2, -1, -1]
    router.taken(router.latent(draws_as_floats(1, 3), asked))
    assert asked == [2, -1, -1]
