"""What a verification found: for people a table, for machines JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from rr_export.report.divergence import Divergence
from rr_export.report.plain_table import plain_table
from rr_runtime.one_line import cut_to_line

FORM = "rr.parity"
SHOWN = 5  # failures listed per check


@dataclass(frozen=True)
class Check:
    """One point of the proof.

    Attributes:
        name: what was checked.
        passed: whether it held; None where it does not apply.
        summary: what was compared, and how far it was apart.
        failures: one sentence per thing that did not hold.
        figures: the numbers behind the summary (JSON-ready).
        case: what it first failed on, for who looks for the cause; None where it did not.
        worst: where inputs of the user's were compared, the one with the largest difference: arrays by name.
    """

    name: str
    passed: bool | None
    summary: str
    failures: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    case: Any = field(default=None, repr=False, compare=False)
    worst: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        result = {True: "holds", False: "FAILS", None: "does not apply"}[self.passed]
        return cut_to_line(f"Check({self.name} {result}: {(*self.failures, self.summary)[0]})")


@dataclass(frozen=True)
class Report:
    """All checks of one verification.

    Attributes:
        checks: in the order in which they were made.
        subject: what was verified.
        versions: of everything that took part.
        divergence: where the two models part, if they do and it was looked for.
        error: what ended the verification before it was done, such as a model that raises; "" where nothing did.
    """

    checks: tuple[Check, ...]
    subject: str
    versions: Mapping[str, str]
    divergence: Divergence | None = None
    error: str = ""

    def __repr__(self) -> str:
        names = [check.name for check in self.checks if check.passed is False] or [c.name for c in self.checks]
        return cut_to_line(f"Report({self.verdict}: {', '.join(names)} of {self.subject})")

    @property
    def passed(self) -> bool:
        """Whether everything that applies holds, and something does."""
        results = [c.passed for c in self.checks if c.passed is not None]
        return not self.error and bool(results) and all(results)

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.error:
            return "not verified"
        return "the same model" if self.passed else "NOT the same model"

    def table(self) -> Table:
        """Returns the report as a rich table."""
        table = Table(title=f"{escape(self.subject)}: {self.verdict}")
        table.add_column("check")
        table.add_column("result")
        table.add_column("what was compared", overflow="fold")
        if self.divergence is not None:
            table.add_row("where they part", "", escape("\n".join(self.divergence.lines())))
        marks = {True: "[green]holds[/]", False: "[bold red]FAILS[/]", None: "[dim]n/a[/]"}
        for check in self.checks:
            lines = [check.summary, *check.failures[:SHOWN]]
            if len(check.failures) > SHOWN:
                lines.append(f"... and {len(check.failures) - SHOWN} more")
            table.add_row(escape(check.name), marks[check.passed], escape("\n".join(lines)))
        if self.error:
            table.add_row("error", "[bold red]FAILS[/]", escape(self.error))
        table.caption = escape(", ".join(f"{name} {version}" for name, version in self.versions.items()))
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a JSON-ready dictionary."""
        return {
            "format": FORM,
            "version": 1,
            "subject": self.subject,
            "passed": self.passed,
            "versions": dict(self.versions),
            "checks": [
                {
                    "name": c.name,
                    "passed": c.passed,
                    "summary": c.summary,
                    "failures": list(c.failures),
                    "figures": dict(c.figures),
                }
                for c in self.checks
            ],
            **({"divergence": self.divergence.to_json()} if self.divergence is not None else {}),
            **({"error": self.error} if self.error else {}),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any], where: str) -> Report:
        """Returns the report that ``to_json`` has written, without the arrays of what failed.

        Args:
            told: what it has written.
            where: what holds it, for messages.

        Raises:
            ValueError: it is no such report.
        """
        try:
            if told["format"] != FORM:
                raise ValueError(told["format"])
            checks = tuple(_check(row) for row in told["checks"])
            versions = {str(name): str(version) for name, version in dict(told["versions"]).items()}
            parted = Divergence.from_json(told["divergence"]) if "divergence" in told else None
            return cls(checks, str(told["subject"]), versions, parted, str(told.get("error", "")))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{where}: expected a report of rr-export verify, got {type(error).__name__}: {error}; verify again"
            ) from error

    def __str__(self) -> str:
        """The table as plain text."""
        return plain_table(self.table())


def _check(row: Mapping[str, Any]) -> Check:
    passed = row["passed"]
    if passed is not None and not isinstance(passed, bool):
        raise TypeError(f"passed {passed!r}")
    return Check(str(row["name"]), passed, str(row["summary"]), tuple(map(str, row["failures"])), dict(row["figures"]))
