"""The options that write a report, for people and for CI: a table or JSON on standard output, and files."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from rr_export.cli.console import out
from rr_export.cli.failures import told
from rr_export.report.earlier import EARLIER
from rr_export.report.junit import junit
from rr_export.report.markdown import markdown
from rr_export.report.report import Report
from rr_export.report.sarif import report_sarif
from rr_runtime.strict_json import strict_json

STDOUT = "-"
Forms = Mapping[str, Callable[[Any], str]]  # from a report to its text, by the name of the form

PROOF: Forms = {
    "json": lambda report: strict_json(report.to_json(), indent=1) + "\n",
    "junit": junit,
    "sarif": lambda report: strict_json(report_sarif(report), indent=1) + "\n",
    "markdown": markdown,
}
HELPS = {
    "json": "Print the report as JSON in place of the table, or write it to FILE.",
    "junit": "Write it as JUnit XML: a test case per point.",
    "sarif": "Write what does not hold as SARIF 2.1.0, for code scanning.",
    "markdown": "Append it to FILE as Markdown, such as $GITHUB_STEP_SUMMARY.",
}
FAILURE_HELPS = {
    "json": "Where there is no bundle in the end: write why to FILE, as JSON.",
    "junit": "Where there is none: as JUnit XML.",
    "sarif": "Where there is none: as SARIF 2.1.0, for code scanning.",
    "markdown": "Where there is none: append it to FILE as Markdown, such as $GITHUB_STEP_SUMMARY.",
}


@dataclass(frozen=True)
class ReportFiles:
    """Where a report goes.

    Attributes:
        files: the file of every form that was asked for; "-" is standard output, in place of the table.
        forms: what makes the text of each.
    """

    files: Mapping[str, str]
    forms: Forms

    @contextmanager
    def written(self, subject: str) -> Iterator[Callable[[Any], None]]:
        """Yields what a report is told to: it is printed first, and then written in every form that was asked for.

        Where a proof ends by an error before that, its forms say so, and the error goes on. What the user's code prints
        meanwhile goes to standard error.
        """
        self._check()
        done: list[Any] = []
        stdout = sys.stdout

        def tell(report: Any) -> None:
            done.append(report)
            try:
                with redirect_stdout(stdout):
                    self._print(report)
            finally:  # also where nobody reads what is printed
                self._write(report)

        try:
            with redirect_stdout(sys.stderr):
                yield tell
        except BaseException as error:  # a model that leaves, or somebody who has no more time, ends it too
            if not done and self.forms is PROOF:
                self._write(Report((), subject, {"rr-export": version("rr-export")}, error=told(error)))
            raise

    def _print(self, report: Any) -> None:
        printed = [form for form, file in self.files.items() if file == STDOUT]
        for form in printed:
            click.echo(self.forms[form](report), nl=False)
        if not printed:
            out.print(report.table())

    def _check(self) -> None:
        """Raises where a file cannot be written, before there is anything to write."""
        if list(self.files.values()).count(STDOUT) > 1:
            raise click.UsageError("expected one report on standard output, got several; name files for the others")
        from rr_runtime.file_places import check_report_file

        seen: dict[Path, str] = {}
        for form, file in self.files.items():
            if file == STDOUT:
                continue
            check_report_file(Path(file), option=f"--{form}", earlier=EARLIER[form])
            other = seen.setdefault(Path(file).resolve(), form)
            if other != form:
                raise click.UsageError(f"--{form}: expected a file of its own, got that of --{other}; name another")

    def _write(self, report: Any) -> None:
        from rr_export.bundle.atomic_write import write_atomically

        for form, file in self.files.items():
            if file != STDOUT:
                text = self.forms[form](report).encode()
                if EARLIER[form] is None and Path(file).exists():
                    text = Path(file).read_bytes() + text
                write_atomically(Path(file), text)


def report_files(
    forms: Forms = PROOF, *, helps: Mapping[str, str] = HELPS
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an option for each of some forms to a command, which gets ``reports``.

    Args:
        forms: the forms.
        helps: what is said of each; ``FAILURE_HELPS`` for a command that tells no report, but what ended it.
    """

    def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_reports(**options: Any) -> Any:
            given = {form: options.pop(form) for form in forms}
            files = {form: file for form, file in given.items() if file}
            return command(**options, reports=ReportFiles(files, forms))

        for form in reversed(list(forms)):
            alone: dict[str, Any] = (
                {"is_flag": False, "flag_value": STDOUT} if form == "json" and helps is HELPS else {}
            )
            with_reports = click.option(f"--{form}", metavar="FILE", help=helps[form], **alone)(with_reports)
        return with_reports

    return with_options
