"""Findings for people (a table), for programs (JSON) and for code scanning (SARIF 2.1.0)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from rich.markup import escape
from rich.table import Table

from rr_export.lint.finding import RULES, SEVERITIES, Finding

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
SHOWN = 6  # findings listed per row
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def table(findings: Sequence[Finding], files: Sequence[str]) -> Table:
    """Returns the findings as a rich table: one row per rule and file, the worst first."""
    made = Table(title=summary(findings, files), title_justify="left", show_lines=True)
    made.add_column("code", no_wrap=True)
    made.add_column("what and where", overflow="fold", ratio=3)
    made.add_column("what will happen, and what to do", overflow="fold", ratio=2)
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.file, finding.severity, finding.code), []).append(finding)
    for (file, severity, code), group in groups.items():
        lines = [_line(f) for f in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"... and {len(group) - SHOWN} more; --format json has all")
        advice = f"{escape(group[0].effect)}\n[bold]Do:[/] {escape(group[0].remedy)}"
        marked = f"{code}\n[{STYLES[severity]}]{severity}[/]"
        made.add_row(marked, f"[bold]{escape(file)}[/]\n" + escape("\n".join(lines)), advice)
    return made


def _line(finding: Finding) -> str:
    if not finding.node:
        return finding.message
    return f"{finding.node} ({finding.place}): {finding.message}"


def rules_table() -> Table:
    """Returns all rules as a rich table."""
    made = Table(show_lines=True)
    for title in ("code", "name", "severity", "what is looked for", "what will happen", "what to do"):
        made.add_column(title, overflow="fold")
    for rule in RULES.values():
        made.add_row(rule.code, rule.name, rule.severity, rule.title, rule.effect, rule.remedy)
    return made


def summary(findings: Sequence[Finding], files: Sequence[str]) -> str:
    """Returns how much was found, in one line."""
    count = Counter(f.severity for f in findings)
    found = ", ".join(f"{count[s]} {s}{'' if count[s] == 1 else 's'}" for s in SEVERITIES if count[s])
    return f"{len(files)} file{'' if len(files) == 1 else 's'}: {found or 'nothing to report'}"


def to_json(findings: Sequence[Finding], files: Sequence[str]) -> dict[str, Any]:
    """Returns the findings as a JSON-ready dictionary."""
    return {
        "format": "rr.lint",
        "version": 1,
        "tool": {"name": "rr-export", "version": version("rr-export")},
        "files": list(files),
        "findings": [{"rule": f.rule.name, **asdict(f)} for f in findings],
    }


def sarif(findings: Sequence[Finding], files: Sequence[str]) -> dict[str, Any]:
    """Returns the findings as a SARIF 2.1.0 log (OASIS standard), for code scanning in CI.

    A file below the working folder is named relative to it, as code scanning wants.
    """
    codes = sorted({f.code for f in findings})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "rr-export lint",
                        "semanticVersion": version("rr-export"),
                        "rules": [_sarif_rule(code) for code in codes],
                    }
                },
                "artifacts": [{"location": {"uri": _uri(file)}} for file in files],
                "results": [_sarif_result(f, codes, files) for f in findings],
            }
        ],
    }


def _sarif_rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title}: {rule.effect}"},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sarif_result(finding: Finding, codes: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": _uri(finding.file), "index": files.index(finding.file)},
        "region": {"startLine": 1},  # code scanning services want a line, also in a binary file
    }
    location: dict[str, Any] = {"physicalLocation": place}
    if finding.node:
        location["logicalLocations"] = [
            {"name": finding.node, "fullyQualifiedName": f"{finding.place} > {finding.node}", "kind": "element"}
        ]
    return {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": finding.severity,
        "message": {"text": f"{finding.message}: {finding.effect}; {finding.remedy}"},
        "locations": [location],
        "partialFingerprints": {"finding/v1": f"{finding.code}:{finding.place}:{finding.node}:{finding.message}"},
    }


def _uri(file: str) -> str:
    path = PurePath(os.path.relpath(file))
    if ".." in path.parts:
        return Path(file).resolve().as_uri()
    return quote(path.as_posix())
