"""The routes that the runtime decides on the host are what the known-answer vectors say."""

from __future__ import annotations

import numpy as np
import pytest

from rr_runtime import draws
from rr_runtime.manifest import Manifest
from rr_runtime.routes import Router

from . import handmade
from .test_vectors import DIGITS, read, sites_of


def manifest_of(name: str, plan: str) -> Manifest:
    row = next(row for row in read(name)["plans"] if row["name"] == plan)
    return Manifest.parse({**handmade.manifest(), "sites": sites_of(row)})


def path_of(text: str) -> np.ndarray:
    return np.array([-1 if digit == "-" else DIGITS.index(digit) for digit in text], np.int64)


@pytest.mark.parametrize("name", ["paths", "markov"])
def test_routes_are_those_of_the_vectors(name: str) -> None:
    routers = {row["name"]: Router(manifest_of(name, row["name"]).sites) for row in read(name)["plans"]}
    for case in read(name)["cases"]:
        router = routers[case["plan"]]
        asked = path_of(case["path"])
        latent = router.latent(draws(int(case["seed"]), len(asked)), asked)
        assert latent.tolist() == path_of(case["routes"]).tolist(), case
        assert router.taken(latent).tolist() == path_of(case["taken"]).tolist(), case
        assert latent.dtype == np.int64


def test_routes_are_those_of_the_hand_made_model() -> None:
    router = Router(Manifest.parse(handmade.manifest()).sites)
    for seed in range(200):
        latent = router.latent(draws(seed, 3), np.full(3, -1))
        assert latent.tolist() == handmade.routes(seed)
        assert router.taken(latent).tolist() == handmade.reported(handmade.routes(seed))


def test_asked_path_is_not_changed() -> None:
    router = Router(Manifest.parse(handmade.manifest()).sites)
    asked = np.array([2, -1, -1], np.int64)
    router.taken(router.latent(draws(1, 3), asked))
    assert asked.tolist() == [2, -1, -1]
