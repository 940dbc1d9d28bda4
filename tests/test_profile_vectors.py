"""Laws of profiles, and bundles that have them, give what the known-answer vectors say; see ``test_vectors.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rr_export as rr
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Categorical
from rr_runtime import Session
from tests.test_vectors import PLANS, Row, X, draws_of, eager, path_of, plan_of, read


def law_over(plan: Plan, row: Row) -> Plan | list[int]:
    """The law, or the path, that a profile of the vectors is."""
    if "path" in row:
        return path_of(row["path"])
    tables = [table["probabilities"] for table in row["tables"]]
    steps: dict[int, dict[int, Any]] = {}
    for site in row["sites"]:
        if site["chain"] is not None:
            steps.setdefault(site["chain"], {})[site["step"]] = tables[site["table"]]
    chains = {c: rr.Markov(t[0][0], [t[step] for step in range(1, len(t))]) for c, t in steps.items()}
    return plan.with_policies(
        [
            Categorical(tables[site["table"]][0]) if site["chain"] is None else chains[site["chain"]].step(site["step"])
            for site in row["sites"]
        ]
    )


def profiles_of(plan: str) -> list[Row]:
    return [row for row in read("profiles")["profiles"] if row["plan"] == plan]


def profile_cases(plan: str, profile: str) -> list[Row]:
    cases = [case for case in read("profiles")["cases"] if (case["plan"], case["profile"]) == (plan, profile)]
    assert len(cases) >= 10
    return cases


PROFILED = [plan["name"] for plan in read("profiles")["plans"]]


@pytest.mark.parametrize("name", PROFILED)
def test_profiles_are_laws_over_the_plans_of_the_vectors(name: str) -> None:
    (row,) = (row for row in read("profiles")["plans"] if row["name"] == name)
    assert row == PLANS[name][1]
    plan = plan_of(name)
    for profile in profiles_of(name):
        law = law_over(plan, profile)
        for case in profile_cases(name, profile["name"]):
            fed, asked = path_of(case["fed"]), path_of(case["path"])
            drawn = draws_of(case["seed"], len(plan.sites))
            if isinstance(law, Plan):
                assert law.routes(drawn, asked).tolist() == fed
            assert plan.taken(plan.routes(drawn, fed)).tolist() == path_of(case["taken"])


@pytest.mark.parametrize("interface", ["explicit", "host"])
@pytest.mark.parametrize("name", PROFILED)
def test_a_bundle_takes_the_paths_of_its_profiles(name: str, interface: str, tmp_path: Path) -> None:
    bundle = rr.export(eager(name), (X,), interface=interface)
    for profile in profiles_of(name):
        bundle = bundle.with_profile(profile["name"], law_over(bundle.plan, profile))
    session = Session(bundle.save(tmp_path / "out"))
    for profile in profiles_of(name):
        for case in profile_cases(name, profile["name"]):
            asked = {"seed": int(case["seed"]), "path": path_of(case["path"])}
            result = session.run({"x": X.numpy()}, profile=profile["name"], **asked)
            assert result.path is not None and result.path.tolist() == path_of(case["taken"])
