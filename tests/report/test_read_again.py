"""A report is read as it was written, and names in it are no markup."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from rr_export.report.divergence import Divergence, DivergingValue
from rr_export.report.report import Check, Report
from rr_runtime.strict_json import strict_json

VALUE = DivergingValue("y", "MatMul", "layers.0", "model.py:3", "layers.0", "run", "1.0", "2.0", math.inf)
PARTED = Divergence((0, -1), ("w",), VALUE, (("layers.1", math.inf), ("head", 2.5)), 7, "no more")
CHECKS = (Check("paths", False, "all", ("one", "two"), {"n": 3}), Check("law", None, ""), Check("sites", True, "4"))


@pytest.mark.parametrize("parted", [None, PARTED, Divergence((1,))])
def test_a_report_is_read_as_it_was_written(parted: Divergence | None) -> None:
    report = Report(CHECKS, "out", {"torch": "2"}, parted, "")
    assert Report.from_json(json.loads(strict_json(report.to_json())), "here") == report
    ended = Report((), "out", {}, None, "the model raised")
    assert Report.from_json(ended.to_json(), "here") == ended


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", "rr.lint"), ("checks", [{}]), ("versions", 3), ("checks", None), ("divergence", {"path": "x"})],
)
def test_what_is_no_report_is_refused(key: str, value: Any) -> None:
    told = {**Report(CHECKS, "out", {}).to_json(), key: value}
    with pytest.raises(ValueError, match="here: expected a report of rr-export verify, got"):
        Report.from_json(told, "here")


def test_bug_names_of_points_were_markup() -> None:
    report = Report((Check("profile [red]x[/red]", True, "[bold]"),), "out", {"odd": "[red]1[/red]"})
    assert "profile [red]x[/red]" in str(report) and "odd [red]1[/red]" in str(report)
