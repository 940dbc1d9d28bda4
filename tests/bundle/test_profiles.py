"""Profiles: other laws over the same file, from the bundle to the runs of a session."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.bundle.card import unproven_parts
from rr_export.laws.plan import Plan
from rr_runtime import BundleError, Session, draws
from rr_runtime.asked import AskedCheck

SEEDS = range(40)
INPUT = {"input": np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)}


def model() -> nn.Module:
    """Three sites; the second one encloses the third."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 4), rr.LayerChoice(nn.Linear(4, 4), 0.9))
    layers = [rr.LayerChoice(nn.Linear(4, 4), 0.8), rr.LayerChoice(inner, 0.5)]
    return nn.Sequential(*layers, nn.Linear(4, 4)).eval()


def chained(plan: Plan) -> Plan:
    """A chain over the first and the last site, of which the model has none."""
    chain = rr.Markov([0.5, 0.5], [[0.9, 0.1], [0.3, 0.7]])
    first, middle, last = (site.name for site in plan.sites)
    return plan.with_policies({first: chain.step(0), last: chain.step(1), middle: rr.Categorical([0.4, 0.6])})


@pytest.fixture(scope="module")
def bundle() -> rr.Bundle:
    made = rr.export(model(), (torch.from_numpy(INPUT["input"]),), target=["cuda", "qnn"])
    plan = made.plan
    made = made.with_profile("half", plan.with_policies([rr.Uniform(2)] * 3), measured=rr.Measured(0.6, 0.8, 0.1, "f1"))
    made = made.with_profile("chain", chained(plan))
    return made.with_profile("one", [1, 0, -1], measured=rr.Measured(0.4, 0.7, 0.0, "f1"))


@pytest.fixture(scope="module")
def place(bundle: rr.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.save(tmp_path_factory.mktemp("profiles") / "out")


def paths_of(session: Session, **asked: Any) -> list[Sequence[int]]:
    results = [session.run(INPUT, seed=seed, **asked) for seed in SEEDS]
    assert all(result.path is not None for result in results)
    return [result.path.tolist() for result in results if result.path is not None]


@pytest.mark.parametrize("target", ["default", "cuda", "qnn"])
@pytest.mark.parametrize("name", ["half", "chain"])
def test_a_seed_takes_the_path_that_the_law_of_the_profile_says(
    bundle: rr.Bundle, place: Path, name: str, target: str
) -> None:
    law = bundle.profiles[name].law
    assert law is not None
    session = Session(place, target=target)
    expected = [bundle.plan.taken(law.routes(draws(seed, 3))).tolist() for seed in SEEDS]
    assert paths_of(session, profile=name) == expected
    assert expected != paths_of(session)
    step = session.prepare({"input": (2, 4)})
    step.inputs["input"][...] = INPUT["input"]
    assert [step.run(seed=seed, profile=name).path.tolist() for seed in SEEDS] == expected  # type: ignore[union-attr]


def test_routes_that_are_asked_for_go_before_the_profile(bundle: rr.Bundle, place: Path) -> None:
    law, session = bundle.profiles["chain"].law, Session(place)
    assert law is not None
    for seed in SEEDS:
        forced = law.routes(draws(seed, 3), [1, -1, -1])
        got = session.run(INPUT, seed=seed, profile="chain", path=[1, -1, -1])
        assert got.path is not None and got.path.tolist() == bundle.plan.taken(forced).tolist()
    assert session.run(INPUT, profile="one", path=[0, -1, -1]).path.tolist() == [0, 0, -1]  # type: ignore[union-attr]


def test_a_profile_of_one_path_is_that_path(place: Path) -> None:
    assert paths_of(Session(place), profile="one") == [[1, 0, -1]] * len(SEEDS)


def test_a_run_under_a_profile_gives_what_the_same_path_gives(place: Path) -> None:
    session = Session(place)
    for seed in SEEDS:
        one = session.run(INPUT, seed=seed, profile="half")
        again = session.run(INPUT, path=one.path)
        assert one.seed == seed
        np.testing.assert_array_equal(one.outputs["output"], again.outputs["output"])


def test_an_ensemble_is_of_the_profile(place: Path) -> None:
    session = Session(place)
    found = session.ensemble(INPUT, runs=10, seed=5, profile="half")
    assert found.paths is not None
    runs = [session.run(INPUT, seed=5 + i, profile="half").path for i in range(10)]
    np.testing.assert_array_equal(found.paths, runs)


@pytest.mark.parametrize("draws_of", ["antithetic", "stratified", "latin"])
def test_a_design_is_of_the_law_of_the_profile_in_every_form(bundle: rr.Bundle, place: Path, draws_of: str) -> None:
    """All three sites run with probability .5 * .6 * .7; the share of 512 runs is within .08 (fixed seeds)."""
    taken = []
    for target in ("default", "cuda", "qnn"):
        found = Session(place, target=target).ensemble(INPUT, runs=512, seed=5, profile="chain", draws=draws_of)
        assert found.paths is not None
        taken.append(found.paths.tolist())
    assert taken[0] == taken[1] == taken[2]
    assert np.mean([first == 1 and middle == 1 and last == 1 for first, middle, last in taken[0]]) == pytest.approx(
        0.5 * 0.6 * 0.7, abs=0.08
    )


def test_a_design_changes_nothing_under_a_profile_of_one_path(place: Path) -> None:
    found = Session(place).ensemble(INPUT, runs=32, seed=5, profile="one", draws="latin")
    assert found.paths is not None and found.paths.tolist() == [[1, 0, -1]] * 32
    assert found.error is not None and not found.error["output"].any()


def test_the_most_probable_path_of_a_profile(bundle: rr.Bundle, place: Path) -> None:
    session = Session(place)
    for name, profile in bundle.profiles.items():
        best = profile.path if profile.law is None else profile.law.most_probable()
        found = session.run(INPUT, decision="most_probable", profile=name)
        assert found.path is not None and tuple(found.path.tolist()) == best
    own = session.run(INPUT, decision="most_probable")
    assert own.path is not None and tuple(own.path.tolist()) == bundle.plan.most_probable() and own.seed is None
    assert paths_of(session, budget=0.5)[0] == session.run(INPUT, decision="most_probable", budget=0.5).path.tolist()  # type: ignore[union-attr]


def test_a_budget_takes_the_best_of_the_menu_that_it_pays_for(place: Path) -> None:
    session = Session(place)
    assert paths_of(session, budget=0.6) == paths_of(session, budget=9) == paths_of(session, profile="half")
    assert paths_of(session, budget=0.5) == paths_of(session, profile="one")


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"profile": "fast"}, ValueError, "profile: expected one of half, chain, one of .*, got 'fast'; name one"),
        ({"profile": 3}, TypeError, "profile: expected a name, got int 3"),
        ({"profile": "half", "budget": 0.5}, ValueError, "budget: expected no budget beside a profile, got both"),
        ({"budget": 0.3}, ValueError, r"budget: expected at least 0.4, the cheapest of the menu, got 0.3"),
        ({"budget": 0}, ValueError, "budget: expected a share above 0, got 0"),
        ({"budget": float("nan")}, ValueError, "budget: expected a share above 0, got nan"),
        ({"budget": "0.5"}, TypeError, "budget: expected a number, got str"),
    ],
)
def test_what_the_bundle_has_not_is_refused(place: Path, asked: Any, error: type[Exception], text: str) -> None:
    session = Session(place)
    for run in (session.run, lambda given, **asked: session.ensemble(given, runs=2, **asked)):
        with pytest.raises(error, match=text):
            run(INPUT, **asked)


def test_files_that_take_no_path_have_no_profiles(tmp_path: Path) -> None:
    made = rr.export(model(), (torch.from_numpy(INPUT["input"]),), interface="standalone")
    with pytest.raises(rr.RRExportError, match=r"profile: expected a model whose runs take a path, got .*'standalone'"):
        made.with_profile("one", [1, 0, -1])
    with pytest.raises(ValueError, match=r"profile: expected none for .*, got one; a file of interface 'standalone'"):
        Session(made.save(tmp_path / "out")).run(INPUT, profile="one")


@pytest.mark.parametrize(
    ("law", "text"),
    [
        ([1, 0, 1], "profile: expected a path that a run reports"),
        ([1, 1, -1], "which is reached on"),
        ([1, 0], "path: expected 3 integers"),
        (Plan([]), "profile: expected a law over the sites of the plan"),
    ],
)
def test_what_is_no_law_over_the_sites_is_refused(bundle: rr.Bundle, law: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bundle.with_profile("new", law)
    with pytest.raises(ValueError, match="profile: expected a name, got ''"):
        bundle.with_profile("", [1, 0, -1])


def test_policies_are_given_by_name_or_for_all(bundle: rr.Bundle) -> None:
    plan = bundle.plan
    with pytest.raises(ValueError, match="policies: expected one for each of 3 sites, got 1; name the sites"):
        plan.with_policies([rr.Uniform(2)])
    with pytest.raises(ValueError, match=r"policies: expected names of sites .* got 'x'"):
        plan.with_policies({"x": rr.Uniform(2)})
    with pytest.raises(rr.RRExportError, match="expected a policy over 2 branches, got one over 3"):
        plan.with_policies({plan.sites[0].name: rr.Uniform(3)})


def test_profiles_are_saved_beside_the_same_files(bundle: rr.Bundle, place: Path, tmp_path: Path) -> None:
    loaded = rr.load(place)
    assert list(loaded.profiles) == ["half", "chain", "one"]
    assert loaded.profiles["one"] == bundle.profiles["one"] and "profiles half, chain, one" in repr(loaded)
    law, same = loaded.profiles["chain"].law, bundle.profiles["chain"].law
    assert law is not None and same is not None and law.chains == same.chains
    for a, b in zip(law.sites, same.sites, strict=True):
        np.testing.assert_array_equal(a.policy.table, b.policy.table)
    plain = rr.Bundle(bundle.model, bundle.manifest, bundle.golden, bundle.targets).save(tmp_path / "plain")
    assert (plain / "model.onnx").read_bytes() == (place / "model.onnx").read_bytes()
    assert "profiles" not in json.loads((plain / "manifest.json").read_text())


def test_verify_proves_the_law_of_every_profile(place: Path) -> None:
    report = rr.verify(place, model(), (torch.from_numpy(INPUT["input"]),))
    found = {check.name: check.passed for check in report.checks if check.name.startswith("profile")}
    assert found == {"profile half": True, "profile chain": True, "profile one": True}


def test_a_single_file_has_no_room_for_profiles(bundle: rr.Bundle, tmp_path: Path) -> None:
    alone = rr.Bundle(bundle.model, bundle.manifest, profiles=bundle.profiles)
    with pytest.raises(rr.RRExportError, match=r"expected a folder for a bundle with profiles \(half, chain, one\)"):
        alone.save(tmp_path / "one.onnx")
    assert not any(tmp_path.iterdir())


def test_a_proof_says_nothing_of_profiles_that_came_after_it(bundle: rr.Bundle, place: Path, tmp_path: Path) -> None:
    proven = rr.load(shutil.copytree(place, tmp_path / "proven"))
    proven.write_parity(rr.verify(place, model(), (torch.from_numpy(INPUT["input"]),)).to_json())
    assert "; " in repr(proven) and "but for" not in repr(proven)
    later = proven.with_profile("late", [1, 0, -1])
    assert unproven_parts(later.targets, later.profiles, later.parity or {}) == ["profile late"]
    assert "verified, but" in repr(later)
    card = (later.save(tmp_path / "later") / "README.md").read_text()
    assert "Made after it: profile late. `rr-export verify later MODEL` proves them." in card
    assert "| `half` | [0.5 0.5] at 0, 1.layer.1 | 60.0% | 0.8 ± 0.1 (f1) |" in card
    assert "| `late` | path 1,0,-1 | - | - |" in card and "session.run(inputs, profile='half')" in card


def failing(place: Path) -> set[str]:
    with pytest.raises(rr.ParityError) as told:
        rr.verify(place, model(), (torch.from_numpy(INPUT["input"]),))
    assert told.value.report is not None
    return {check.name for check in told.value.report.checks if check.passed is False}


def test_sabotage_a_runtime_that_draws_from_another_law(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = AskedCheck.find
    monkeypatch.setattr(
        AskedCheck, "find", lambda self, profile, budget: whole(self, {"half": "chain"}.get(profile, profile), budget)
    )
    assert failing(place) == {"profile half"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda profiles: profiles["half"].update(path=[1, 0, -1]),
        lambda profiles: profiles["half"].pop("policies"),
        lambda profiles: profiles["half"]["policies"].pop(),
        lambda profiles: profiles["half"]["policies"][0].update(thresholds=[[0.6]]),
        lambda profiles: profiles["half"]["policies"][0].update(type="markov", chain=0, step=1),
        lambda profiles: profiles["one"].update(path=[1, 0, 1]),
        lambda profiles: profiles["one"].update(path=[1, 1, -1]),
        lambda profiles: profiles["one"].update(path=[1, 2, -1]),
        lambda profiles: profiles["one"]["measured"].pop("cost"),
        lambda profiles: profiles["one"]["measured"].update(cost=-1),
    ],
)
def test_damaged_profiles_are_refused(place: Path, tmp_path: Path, damage: Any) -> None:
    manifest = json.loads((place / "manifest.json").read_text())
    damage(manifest["profiles"])
    copied = tmp_path / "out"
    copied.mkdir()
    for file in place.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="profiles"):
        Session(copied)


@pytest.mark.parametrize("target", ["default", "cuda", "qnn"])
def test_every_form_that_decides_explains_its_runs_alike(bundle: rr.Bundle, place: Path, target: str) -> None:
    session, plan = Session(place, target=target), bundle.plan
    for asked in ({}, {"profile": "chain"}, {"profile": "one"}):
        found = session.explain(INPUT, seed=4, **asked)
        again = session.run(INPUT, seed=4, **asked)
        assert found.result.path is not None and again.path is not None
        assert found.result.path.tolist() == again.path.tolist()
        for other in found.alternatives:
            site = [s.name for s in plan.sites].index(other.site)
            assert other.path[site] == plan.sites[site].branches.index(other.branch) != again.path[site]
            np.testing.assert_array_equal(
                other.outputs["output"], session.run(INPUT, path=other.path).outputs["output"]
            )


def test_a_frozen_target_explains_nothing(bundle: rr.Bundle, tmp_path: Path) -> None:
    frozen = rr.package(bundle, "cpu", frozen=2, name="two").save(tmp_path / "frozen")
    with pytest.raises(ValueError, match="explain: expected a form that decides site by site, got two of interface"):
        Session(frozen, target="two").explain(INPUT, seed=1)
