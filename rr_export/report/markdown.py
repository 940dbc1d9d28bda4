"""A report as Markdown, for the summary of a job or a comment on a change."""

from __future__ import annotations

from rr_export.report.report import Report

SHOWN = 10  # failures listed per check


def markdown(report: Report) -> str:
    """Returns the report as Markdown: the verdict, a table of the points, failures, and where the two models part."""
    mark = "✅" if report.passed else "❌"
    lines = [f"### {mark} {as_markdown_text(report.subject)}: {report.verdict}", ""]
    if report.divergence is not None:
        lines += ["**Where they part**", "", *(f"- {as_markdown_text(line)}" for line in report.divergence.lines()), ""]
    if report.checks:
        lines += ["| check | result | what was compared |", "|---|---|---|"]
        results = {True: "✅ holds", False: "❌ **fails**", None: "n/a"}
        lines += [
            f"| {as_markdown_text(c.name)} | {results[c.passed]} | {as_markdown_text(c.summary)} |"
            for c in report.checks
        ]
    for check in report.checks:
        if check.failures:
            more = len(check.failures) - SHOWN
            lines += ["", f"**{as_markdown_text(check.name)}**", ""]
            lines += [f"- {as_markdown_text(text)}" for text in check.failures[:SHOWN]]
            lines += [f"- ... and {more} more"] if more > 0 else []
    if report.error:
        fence = "`" * 4
        lines += ["", f"{fence}text", report.error.rstrip().replace(fence, "'" * 4), fence]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return "\n".join([*lines, "", f"<sub>{as_markdown_text(versions)}</sub>", ""])


def as_markdown_text(text: str) -> str:
    """Returns a text that Markdown does not read as anything else, on one line."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]#|~" else c for c in " ".join(text.split()))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")
