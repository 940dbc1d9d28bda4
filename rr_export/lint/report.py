"""Findings for people (a table), for programs (JSON) and for code scanning (SARIF 2.1.0)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from rich.markup import escape
from rich.table import Table

from rr_export.lint.finding import RULES, SEVERITIES, Finding
from rr_export.report.sarif import SarifResult, SarifRule, relative_uri, sarif_log

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
SHOWN = 6  # findings listed per row


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
    """Returns the findings as a SARIF 2.1.0 log, for code scanning in CI."""
    codes = sorted({f.code for f in findings})
    rules = [SarifRule(r.code, r.name, r.title, r.effect, r.remedy, r.severity) for r in map(RULES.__getitem__, codes)]
    results = [
        SarifResult(
            f.code,
            f.severity,
            f"{f.message}: {f.effect}; {f.remedy}",
            f.file,
            (f.node, f"{f.place} > {f.node}") if f.node else None,
            f"{f.code}:{f.place}:{f.node}:{f.message}",
        )
        for f in findings
    ]
    return sarif_log("rr-export lint", rules, results, files)


def code_quality(findings: Sequence[Finding], files: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the findings as a report of GitLab's Code Quality (a subset of Code Climate's format).

    Args:
        findings: what was found.
        files: all that were looked at; the format has no place for them.
    """
    severities = {"error": "critical", "warning": "minor", "note": "info"}
    return [
        {
            "check_name": f"{f.code} {f.rule.name}",
            "description": f"{f.message}: {f.effect}; {f.remedy}",
            "severity": severities[f.severity],
            "fingerprint": hashlib.sha256(f"{f.file}:{f.code}:{f.place}:{f.node}:{f.message}".encode()).hexdigest(),
            "location": {"path": relative_uri(f.file), "lines": {"begin": 1}},
        }
        for f in findings
    ]
