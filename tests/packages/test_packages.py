"""Every model of the packages is exported and proven, or refused with the right message."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from torch import nn

from tests.packages.case import FAILED, HOLDS, Case, Judged, given, judge, mistake
from tests.packages.cases import CASES


def test_they_are_many_and_their_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


def test_a_refusal_says_why() -> None:
    assert all(case.reason and re.compile(case.refuses) for case in CASES if not case.paths)


def layers() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


PLAIN = Case("torch/layers", layers, (given(1, 4),), layers=("*",), paths=4)


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (Judged(HOLDS, paths=2), "expected 4 paths, got 2"),
        (Judged("refused", "no"), "expected that it holds, got refused: no"),
        (Judged(FAILED, "Traceback"), "expected that it holds, got failed: Traceback"),
    ],
)
def test_what_is_not_expected_is_seen(judged: Judged, said: str) -> None:
    assert mistake(PLAIN, judged) == said


def test_a_refusal_for_another_reason_is_seen() -> None:
    refused = replace(PLAIN, paths=0, refuses="use_cache=False")
    assert mistake(refused, Judged("refused", "layer.py:3: expected tensors, got a cache; pass use_cache=False")) == ""
    assert mistake(refused, Judged("refused", "another")) == "expected a refusal with 'use_cache=False', got: another"
    assert mistake(refused, Judged(HOLDS, paths=4)) == "expected that it is refused, got holds: "


@pytest.mark.packages
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_model_is_proven_or_refused(case: Case) -> None:
    assert mistake(case, judge(case)) == ""
