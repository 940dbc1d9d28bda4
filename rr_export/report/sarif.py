"""What was found as SARIF 2.1.0 (OASIS standard), for code scanning in CI."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from rr_export.report.report import Check, Report

ENDED = "verification"  # what is said not to hold where a proof ended before it was done
PARTED, MEND = "export again, or find out where they part", "mend what is told: the model, its data, or the command"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True)
class SarifRule:
    """What results are of.

    Attributes:
        code: what results name it by.
        name: the same in words, joined by hyphens.
        title: what is looked for.
        effect: what happens where it is found.
        remedy: what to do.
        level: "error", "warning" or "note".
    """

    code: str
    name: str
    title: str
    effect: str
    remedy: str
    level: str


@dataclass(frozen=True)
class SarifResult:
    """One thing that was found.

    Attributes:
        code: of its rule.
        level: "error", "warning" or "note".
        message: what it is.
        file: where.
        element: where in the file, and the same with what is around it; None: the file as a whole.
        fingerprint: by which it is known again.
    """

    code: str
    level: str
    message: str
    file: str
    element: tuple[str, str] | None
    fingerprint: str


def sarif_log(
    tool: str, rules: Sequence[SarifRule], results: Sequence[SarifResult], files: Sequence[str]
) -> dict[str, Any]:
    """Returns a log of one run of a tool.

    A file below the working folder is named relative to it, as code scanning wants.

    Args:
        tool: its name.
        rules: all that the results are of.
        results: what it found.
        files: all files that it looked at.
    """
    codes = [rule.code for rule in rules]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": tool,
                        "semanticVersion": version("rr-export"),
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "artifacts": [{"location": {"uri": relative_uri(file)}} for file in files],
                "results": [_result(result, codes, files) for result in results],
            }
        ],
    }


def report_sarif(report: Report) -> dict[str, Any]:
    """Returns a log of the points of a proof that do not hold: one result for each."""
    failed = [check for check in report.checks if check.passed is False]
    if report.error:
        failed.append(Check(ENDED, False, "it ended before it was done", (report.error.splitlines()[0],)))
    divergence = " ".join(report.divergence.lines()) if report.divergence is not None else ""
    rules = [_rule_of(name) for name in dict.fromkeys(check.name.partition(" ")[0] for check in failed)]
    results = [
        SarifResult(
            f"parity/{check.name.partition(' ')[0]}",
            "error",
            " ".join(filter(None, [f"{check.name}: {'; '.join(check.failures[:3]) or check.summary}", divergence])),
            report.subject,
            None,
            check.name,
        )
        for check in failed
    ]
    return sarif_log("rr-export verify", rules, results, [report.subject])


def _rule_of(point: str) -> SarifRule:
    """The rule that a point of a proof is, or its end before it was done."""
    title, effect, remedy = f"The file and the model are the same: {point}", "the file is not the model", PARTED
    if point == ENDED:
        title, effect, remedy = "The proof is done", "whether the file is the model is not known", MEND
    return SarifRule(f"parity/{point}", point, title, effect, remedy, "error")


def _rule(rule: SarifRule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title}: {rule.effect}"},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"level": rule.level},
    }


def _result(result: SarifResult, codes: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": relative_uri(result.file), "index": files.index(result.file)},
        "region": {"startLine": 1},  # code scanning services want a line, also in a binary file
    }
    location: dict[str, Any] = {"physicalLocation": place}
    if result.element is not None:
        name, whole = result.element
        location["logicalLocations"] = [{"name": name, "fullyQualifiedName": whole, "kind": "element"}]
    return {
        "ruleId": result.code,
        "ruleIndex": codes.index(result.code),
        "level": result.level,
        "message": {"text": result.message},
        "locations": [location],
        "partialFingerprints": {"finding/v1": result.fingerprint},
    }


def relative_uri(file: str) -> str:
    """Returns the address of a file, relative to the working folder where it is below it."""
    path = PurePath(os.path.relpath(file))
    if ".." in path.parts:
        return Path(file).resolve().as_uri()
    return quote(path.as_posix())
