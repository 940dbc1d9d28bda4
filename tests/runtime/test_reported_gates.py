"""Gates that report their probabilities: an explanation has them, and NaN among them is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rr_runtime import RuntimeFailure, Session
from tests.conformance.hostile import CASES

GATED = CASES / "gate-report"


def inputs_of(session: Session, fill: float) -> dict[str, Any]:
    made = {}
    for tensor in session.inputs:
        shape = [3 if isinstance(size, str) else size for size in tensor.shape]
        made[tensor.name] = np.full(shape, fill, tensor.dtype)
    return made


def test_bug_an_explanation_has_the_probabilities_of_gates() -> None:
    session = Session(GATED)
    gates = {site.name for site in session.sites if site.policy.type == "gate"}
    found = session.explain(inputs_of(session, 0.5), seed=3)
    told = [site for site in found.sites if site.reached and f"{site.site}.probabilities" in found.result.outputs]
    assert told and gates >= {site.site for site in told}
    for site in told:
        reported = found.result.outputs[f"{site.site}.probabilities"]
        assert site.probabilities == pytest.approx(reported.tolist()) and sum(site.probabilities) == pytest.approx(1)
        if f"{site.probabilities[0]:.6g}" != "1":
            assert f"{site.probabilities[0]:.6g}" in str(found)


@pytest.mark.parametrize("fill", (np.nan, np.inf))
def test_bug_probabilities_that_are_no_numbers_are_an_error(fill: float, tmp_path: Path) -> None:
    session = Session(GATED)
    with pytest.raises(
        RuntimeFailure, match=r"output '.*probabilities': expected probabilities that are numbers, got NaN"
    ):
        session.run(inputs_of(session, fill), seed=3)
    assert session.run(inputs_of(session, 0.5), seed=3).path is not None
