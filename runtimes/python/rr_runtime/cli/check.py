"""``rr-runtime check``: the golden cases of every form that the device has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rr_runtime.cli.columns import machine_text
from rr_runtime.cli.junit import EARLIER, junit
from rr_runtime.cli.outcome import HOLDS, MISMATCH, USAGE, Outcome
from rr_runtime.errors import RuntimeFailure
from rr_runtime.file_places import check_report_file
from rr_runtime.form_check import check_bundle
from rr_runtime.text_table import columns
from rr_runtime.tools.machine import about_machine
from rr_runtime.tools.timing import Tell


def check(
    bundles: Sequence[Path],
    *,
    provider: str | None,
    target: str | None,
    junit_file: Path | None,
    progress: Tell | None = None,
) -> Outcome:
    """Returns what every form of each bundle does with its golden cases.

    A bundle that is not there or damaged is an error of that bundle, and the others are checked all the same.

    Raises:
        ValueError: the report cannot be written where it is asked for.
    """
    if junit_file is not None:
        check_report_file(junit_file, option="--junit", earlier=EARLIER)
    places = []
    for bundle in bundles:
        try:
            places.append(check_bundle(bundle, provider=provider, target=target, progress=progress) | {"error": ""})
        except (RuntimeFailure, ValueError, TypeError) as error:
            places.append(
                {"place": str(bundle), "forms": [], "checked": 0, "unfit": [], "holds": False, "error": str(error)}
            )
    result = {
        "tool": "check",
        "machine": about_machine(),
        "places": places,
        "holds": all(place["holds"] for place in places),
    }
    errors = tuple(place["error"] for place in places if place["error"])
    damaged = any(form["damaged"] for place in places for form in place["forms"])
    code = USAGE if errors or damaged else HOLDS if result["holds"] else MISMATCH
    files = {} if junit_file is None else {junit_file: junit(result)}
    return Outcome(result, lambda: _text(result), code, errors, files)


def _text(result: Mapping[str, Any]) -> str:
    parts = []
    for place in result["places"]:
        if place["error"]:
            parts.append(f"{place['place']}: NOT CHECKED")
            continue
        keys = ("target", "form", "precision", "provider")
        rows = [(*(form[key] for key in keys), _said(form)) for form in place["forms"]]
        verdict = "holds" if place["holds"] else "DOES NOT HOLD" if place["checked"] else "NOTHING WAS CHECKED"
        parts.append(f"{place['place']}: {verdict}\n" + columns(("form", "kind", "precision", "on", "cases"), rows))
        parts += [_failures(form) for form in place["forms"] if form["holds"] is False]
        if place["checked"] and place["unfit"]:
            numbers = ", ".join(map(str, place["unfit"]))
            parts.append(f"{len(place['unfit'])} golden cases fit no form that is here: {numbers}")
    return "\n\n".join([*parts, machine_text(result["machine"])])


def _said(form: Mapping[str, Any]) -> str:
    if form["left_out"]:
        return f"left out: {form['left_out']}"
    if not form["cases"]:
        return "DAMAGED" if form["damaged"] else "none ran: FAILS"
    held = sum(case["holds"] for case in form["cases"])
    return f"{held} hold" if form["holds"] else f"{held} of {len(form['cases'])} hold: FAILS"


def _failures(form: Mapping[str, Any]) -> str:
    lines = [f"{form['target']} on {form['provider']}:"]
    lines += [f"  {form['error']}"] if form["error"] else []
    for case in form["cases"]:
        if not case["holds"]:
            why = case["why"] or "recorded"
            lines.append(f"  case {case['case']}, {why}, path {case['path']}, seed {case['seed']}: {case['failure']}")
    return "\n".join(lines)
