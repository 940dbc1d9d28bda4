"""What was proven: parity with the model, what other tools left of the file, and how it does on providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.card import unproven_parts
from rr_export.errors import BundleError
from rr_export.overview.given_files import GivenFile
from rr_export.overview.section import Absent, Section
from rr_export.report.report import Report
from rr_export.tools.doctor import bundle_table
from rr_export.tools.warned import machine_line

MOST_FAILURES = 3  # of a rewritten file, that are told


def parity_section(bundle: Bundle, *, name: str) -> Section:
    """Returns what the last proof of the bundle says.

    Raises:
        BundleError: what is kept is no report.
    """
    verify = f"rr-export verify {name} MODEL --record"
    if bundle.parity is None:
        return Section("parity", "Parity with the model", absent=Absent("Not proven.", verify))
    try:
        report = Report.from_json(bundle.parity, f"{bundle.path or 'bundle'}: parity")
    except ValueError as error:
        raise BundleError(str(error)) from error
    held = sum(check.passed is True for check in report.checks)
    says = [f"By the last proof it is {report.verdict}: {held} of {len(report.checks)} points hold."]
    later = unproven_parts(bundle.targets, bundle.profiles, bundle.parity)
    absent = Absent(f"Made after that proof, and not proven: {', '.join(later)}.", verify) if later else None
    return Section("parity", "Parity with the model", tuple(says), (report.table(),), absent=absent)


def survival_section(reports: Sequence[GivenFile], *, name: str) -> Section:
    """Returns what is said of files that other tools made of the bundle's.

    Raises:
        ValueError: a file is no report of a verification.
    """
    title = "Survival of other tools"
    if not reports:
        command = f"rr-export verify NEW.onnx --against {name} --json survival.json"
        absent = Absent("Of files that other tools made of it nothing is known.", command, "survival.json")
        return Section("survival", title, absent=absent)
    table = Table(title="what other tools made of it")
    for column in ("file", "verdict", "points that hold", "what fails"):
        table.add_column(column, overflow="fold")
    for given in reports:
        report = Report.from_json(given.told, str(given.file))
        tried = [check for check in report.checks if check.passed is not None]
        failed = [check for check in tried if not check.passed]
        words = [f"{check.name}: {(*check.failures, check.summary)[0]}" for check in failed[:MOST_FAILURES]]
        words += [f"and {len(failed) - MOST_FAILURES} more"] if len(failed) > MOST_FAILURES else []
        words += [report.error.splitlines()[0]] if report.error else []
        mark = f"[green]{report.verdict}[/]" if report.passed else f"[bold red]{report.verdict}[/]"
        held = f"{len(tried) - len(failed)} of {len(tried)}"
        table.add_row(escape(report.subject), mark, held, escape("\n".join(words) or "-"))
    files = ", ".join(given.file.name for given in reports)
    return Section("survival", title, (f"By proofs of rewritten files ({files}).",), (table,))


def conformance_section(asked: Sequence[GivenFile], checked: Sequence[GivenFile], *, name: str) -> Section:
    """Returns how the bundle does on execution providers.

    Args:
        asked: what ``rr-export doctor --json`` printed.
        checked: what ``rr-runtime check --json`` printed, on a device.
        name: how a command names the bundle.

    Raises:
        ValueError: a file holds something else.
    """
    title = "Conformance of providers"
    if not asked and not checked:
        command = f"rr-export doctor {name} --json > doctor.json"
        absent = Absent("No provider was asked.", command, "doctor.json")
        return Section("conformance", title, absent=absent)
    says, tables = [], []
    for given in asked:
        tables.append(_read(given, "rr-export doctor BUNDLE --json", _asked))
        says.append(f"{machine_line(given.told['machine'])} ({given.file.name}).")
    for given in checked:
        tables.append(_read(given, "rr-runtime check BUNDLE --json", _checked))
        says.append(f"{machine_line(given.told['machine'])} ({given.file.name}).")
    return Section("conformance", title, tuple(says), tuple(tables))


def _read(given: GivenFile, maker: str, table: Any) -> Table:
    try:
        machine_line(given.told["machine"])
        made: Table = table(given.told)
        return made
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{given.file}: expected what {maker} prints of a bundle, got {type(error).__name__}: {error}; print it "
            "again"
        ) from error


def _asked(told: Mapping[str, Any]) -> Table:
    if not any(entry["bundle"] is not None for entry in told["providers"]):
        raise ValueError("no bundle")
    return bundle_table(told)


def _checked(told: Mapping[str, Any]) -> Table:
    table = Table(title="recorded runs, replayed on the device")
    for column in ("bundle", "form", "precision", "on", "cases"):
        table.add_column(column, overflow="fold")
    for place in told["places"]:
        if place["error"]:
            table.add_row(escape(place["place"]), "-", "-", "-", f"[bold red]{escape(place['error'])}[/]")
        for form in place["forms"]:
            held, count = sum(case["holds"] for case in form["cases"]), len(form["cases"])
            words = f"left out: {escape(form['left_out'])}" if form["left_out"] else f"{held} of {count} hold"
            mark = {True: "green", False: "bold red"}.get(form["holds"])
            about = (str(form[key] or "-") for key in ("target", "precision", "provider"))
            table.add_row(*map(escape, (place["place"], *about)), f"[{mark}]{words}[/]" if mark else words)
    return table
