"""Why a run took its path: the handmade model's laws and outputs, written out, are the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rr_runtime import RuntimeFailure, Session
from rr_runtime.explanation import DRAWN, FIXED, FORCED, explain_run
from rr_runtime.results import Result

from . import handmade

PROFILES = {
    "uneven": {
        "policies": [
            {"type": "categorical", "probabilities": [[0.125, 0.75, 0.125]], "thresholds": [[0.125, 0.875]]},
            {"type": "categorical", "probabilities": [[0.25, 0.75]], "thresholds": [[0.25]]},
            {"type": "categorical", "probabilities": [[0.5, 0.5]], "thresholds": [[0.5]]},
        ]
    },
    "one": {"path": [0, -1, 1], "measured": {"cost": 0.5, "quality": 1.0, "spread": 0.0, "metric": "m"}},
}


@pytest.fixture(scope="module", params=["explicit", "host"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = handmade.write_bundle(tmp_path_factory.mktemp("explained") / request.param, request.param)
    handmade.write_manifest(folder, {**handmade.content_of(folder), "profiles": PROFILES})
    return Session(folder)


def largest(path: list[int], other: list[int]) -> float:
    a, b = (handmade.forward(handmade.example(), p)["y"].astype(np.float64) for p in (path, other))
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("asked", [None, [-1, -1, -1], [1, -1, -1], [-1, 0, -1], [0, 1, 1]])
@pytest.mark.parametrize("seed", range(6))
def test_every_site_says_why_it_has_its_route(session: Session, seed: int, asked: list[int] | None) -> None:
    found = session.explain(handmade.example(), seed=seed, path=asked)
    latent = handmade.routes(seed, asked)
    assert found.result.path is not None and found.result.path.tolist() == handmade.reported(latent)
    assert (found.result.seed, found.profile) == (seed, None)
    handmade.assert_outputs(found.result.outputs, handmade.forward(handmade.example(), handmade.reported(latent)))
    for i, site in enumerate(found.sites):
        branches, policy = handmade.SITES[i]["branches"], handmade.SITES[i]["policy"]
        row = latent[1] if i == 2 else 0  # head follows inner
        assert (site.route, site.branch) == (latent[i], branches[latent[i]])
        assert site.draw == handmade.draws(seed, 3)[i]
        assert (list(site.thresholds), list(site.probabilities)) == (
            policy["thresholds"][row],
            policy["probabilities"][row],
        )
        assert site.how == (FORCED if asked is not None and asked[i] >= 0 else DRAWN)
        if site.how == DRAWN:
            assert sum(t <= site.draw for t in site.thresholds) == site.route
        assert site.after == (handmade.SITES[1]["branches"][latent[1]] if i == 2 else None)
        assert site.reached == (i != 1 or latent[0] == 1)


@pytest.mark.parametrize("seed", range(4))
def test_alternatives_change_one_site_alone(session: Session, seed: int) -> None:
    found = session.explain(handmade.example(), seed=seed)
    latent = handmade.routes(seed)
    expected = {}
    for i, branches in enumerate(site["branches"] for site in handmade.SITES):
        for route in range(len(branches)):
            if route != latent[i] and (i != 1 or latent[0] == 1):
                other = handmade.reported([*latent[:i], route, *latent[i + 1 :]])
                expected[handmade.SITES[i]["name"], branches[route]] = other
    assert {(other.site, other.branch): list(other.path) for other in found.alternatives} == expected
    for other in found.alternatives:
        handmade.assert_outputs(dict(other.outputs), handmade.forward(handmade.example(), other.path))
        difference = largest(handmade.reported(latent), list(other.path))
        assert other.differences["y"] == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_profiles_say_their_own_laws(session: Session) -> None:
    found = session.explain(handmade.example(), seed=3, profile="uneven")
    assert found.profile == "uneven" and [site.how for site in found.sites] == [DRAWN] * 3
    assert [site.after for site in found.sites] == [None] * 3
    for site, told in zip(found.sites, PROFILES["uneven"]["policies"], strict=True):
        assert [list(site.probabilities)] == told["probabilities"]  # type: ignore[index]
        assert site.route == sum(t <= site.draw for t in told["thresholds"][0])  # type: ignore[index]
    one = session.explain(handmade.example(), seed=3, budget=0.6)
    assert one.profile == "one" and [site.how for site in one.sites] == [FIXED, DRAWN, FIXED]
    assert one.result.path is not None and one.result.path.tolist() == [0, -1, 1]
    mixed = session.explain(handmade.example(), seed=3, profile="one", path=[1, -1, -1])
    assert [site.how for site in mixed.sites] == [FORCED, DRAWN, FIXED] and mixed.result.path is not None
    assert mixed.result.path.tolist() == [1, int(handmade.draws(3, 3)[1] >= 0.5), 1]


def test_a_fresh_seed_is_told(session: Session) -> None:
    found = session.explain(handmade.example())
    again = session.explain(handmade.example(), seed=found.result.seed)
    assert str(again) == str(found) and again.sites == found.sites


def test_what_is_shown(session: Session) -> None:
    found = session.explain(handmade.example(), seed=3, path=[0, -1, -1])
    text = str(found)
    head, *_ = text.splitlines()
    assert head == f"seed 3, the file's own law: path {handmade.reported(handmade.routes(3, [0, -1, -1]))}"
    assert "not reached (" in text and "largest difference of y" in text and "forced" in text and ", after " in text
    assert repr(found).startswith("Explanation(seed 3, 2 of 3 routes drawn, most changed by ")
    assert repr(found.sites[1]).startswith("SiteChoice('outer.b.inner': ") and "not reached" in repr(found.sites[1])
    assert repr(found.alternatives[0]).startswith("Alternative('outer': nested, differences y: ")


@pytest.mark.parametrize("interface", ["standalone", "plain"])
def test_forms_without_paths_are_refused(sessions: dict[str, Session], interface: str) -> None:
    with pytest.raises(
        ValueError, match="explain: expected a form that decides site by site, got default of interface"
    ):
        sessions[interface].explain(handmade.example())


def test_wrong_arguments_are_those_of_a_run(session: Session) -> None:
    for given, text in (
        ({"seed": -1}, "seed: expected"),
        ({"path": [0]}, "path: expected"),
        ({"profile": "fast"}, "profile: expected one of"),
        ({"profile": "one", "budget": 0.5}, "budget: expected no budget beside a profile"),
    ):
        with pytest.raises(ValueError, match=text):
            session.explain(handmade.example(), **given)  # type: ignore[arg-type]


def test_a_file_that_takes_another_path_is_found_out(session: Session) -> None:
    """The sabotaged run: its first route is another one than the law says."""

    def run(seed: int, path: Any) -> Result:
        result = session.run(handmade.example(), seed=seed, path=path)
        assert result.path is not None
        return Result(result.outputs, np.add(result.path, [1, 0, 0]) % 3, seed)

    with pytest.raises(RuntimeFailure, match=r"explain: expected path \[.*\] by the laws of the file, got"):
        explain_run(run, session.sites, None, 5, None)


def test_outputs_of_other_shapes_or_without_numbers_differ_without_bound(session: Session) -> None:
    shapes = {0: np.ones(2), 1: np.ones(3), 2: np.array([1.0, math.nan])}

    def run(seed: int, path: Any) -> Result:
        taken = handmade.reported(handmade.routes(seed, path))
        return Result({"y": shapes[taken[0]]}, np.array(taken), seed)

    found = explain_run(run, session.sites, None, 5, [0, 0, 0])
    assert {o.branch: o.differences["y"] for o in found.alternatives if o.site == "outer"} == {
        "nested": math.inf,
        "less": math.inf,
    }
    assert [o.differences["y"] for o in found.alternatives if o.site == "head"] == [0.0]
