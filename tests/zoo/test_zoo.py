"""Every model of the zoo is exported and proven, or refused with the right message."""

from __future__ import annotations

import warnings

import pytest

import rr_export as rr
from rr_export.eager.code_sites import code_of
from tests.zoo import (
    branches,
    calls,
    chains,
    conds,
    draws,
    export_db,
    gates,
    loop_lengths,
    loops,
    refused_draws,
    refused_laws,
    refused_sides,
    state,
    training,
)
from tests.zoo.case import Case

FAMILIES = (
    *(draws, branches, calls, loops, loop_lengths, chains, state, gates, conds, training, export_db),
    *(refused_sides, refused_draws, refused_laws),
)
CASES = [case for family in FAMILIES for case in family.CASES]


def test_the_zoo_is_large_and_its_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=() if case.default else pytest.mark.zoo) for case in CASES]
)
def test_model_is_proven_or_refused(case: Case) -> None:
    model, args = case.make()
    with warnings.catch_warnings():
        # third-party models warn of their own doing; a model without sites, of having none
        warnings.simplefilter("ignore")
        if not case.paths:
            with pytest.raises(rr.RRExportError, match=f"(?s){case.refuses}"):
                rr.export(model, args, **case.options)
            return
        bundle = rr.export(model, args, **case.options)
        report = rr.verify(bundle, model, args, case.options.get("kwargs"))
    assert bundle.plan.path_count() == case.paths
    held = {check.name for check in report.checks if check.passed}
    assert held >= ({"paths", "streams", "law", "laziness"} if case.paths > 1 else {"paths"})
    code = code_of(model)
    decisions = () if code is None else code.program.decisions
    assert sum(decision.kind == "gate" for decision in decisions) == case.gates
