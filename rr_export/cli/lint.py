"""``rr-export lint``: what is wrong with the randomness of files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from rr_export.cli.console import MISMATCH, USAGE, end, err, out
from rr_export.cli.error_pages import LINT, place_of
from rr_export.cli.options import read_codes
from rr_export.errors import LintError
from rr_export.lint.finding import ENGINES, RULES, SEVERITIES, Finding
from rr_export.lint.report import code_quality, rules_table, sarif, summary, table, to_json
from rr_export.report.earlier import EARLIER
from rr_runtime.strict_json import strict_json

FORMS: dict[str, Callable[[Sequence[Finding], Sequence[str]], Any]] = {
    "json": to_json,
    "sarif": sarif,
    "codequality": code_quality,
}


def _print_rules(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        out.print(rules_table())
        context.exit()


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "form", type=click.Choice(["table", *FORMS]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write it there instead (replaces an earlier report).")
@click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 from this severity on.",
)
@click.option("--select", multiple=True, metavar="CODES", help="Only these codes (RR103,RR2: a prefix takes all).")
@click.option("--ignore", multiple=True, metavar="CODES", help="All but these codes.")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="onnxruntime",
    show_default=True,
    help="What will read the file.",
)
@click.option("--rules", is_flag=True, is_eager=True, expose_value=False, callback=_print_rules, help="List all rules.")
def lint(
    files: Sequence[str], form: str, output: Path | None, fail_on: str, select: Sequence[str], ignore: Sequence[str],
    engine: str,
) -> None:  # fmt: skip
    """Report what is wrong with the randomness of any ONNX file (.onnx, .ort, or a bundle folder)."""
    from rr_export.bundle.atomic_write import write_atomically
    from rr_export.lint.linter import lint as run_lint

    if output is not None:
        from rr_runtime.file_places import check_report_file

        check_report_file(output, option="--output", earlier=EARLIER[form])
    chosen = read_codes("--select", select, set(RULES)) - read_codes("--ignore", ignore, set())
    files = list(dict.fromkeys(files))
    findings: list[Finding] = []
    unread: set[str] = set()
    for file in files:
        try:
            findings += [f for f in run_lint(file, engine=engine) if f.code in chosen]
        except LintError as error:  # the other files are reported all the same
            err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            unread.add(file)
    if unread:
        err.print(f"see {place_of(LINT)}")
    files = [file for file in files if file not in unread]
    if not files:
        end(USAGE)
    if form == "table":
        written = io.StringIO()
        console = out if output is None else Console(width=120, no_color=True, file=written)
        console.print(table(findings, files) if findings else summary(findings, files))
        text = written.getvalue()
    else:
        text = strict_json(FORMS[form](findings, files), indent=1)
    if output is not None:
        write_atomically(output, text.encode())
    elif form != "table":
        click.echo(text)
    if unread:
        end(USAGE)
    worst = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on != "never" else ()
    end(MISMATCH if any(f.severity in worst for f in findings) else 0)
