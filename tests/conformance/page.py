"""The record as a page to read: cases and targets by runners, with the reason of every cell that does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.conformance.mobile import MOBILE
from tests.conformance.record import Record
from tests.conformance.runner import CHECKED, CPU, DEFAULT, EXCEPTION, FAILS, HOLDS, NOT_RUN, REFUSED, Cell, Column
from tests.conformance.runners import RUNNERS

COLUMNS = (*RUNNERS, *MOBILE)
_OUTCOMES = (HOLDS, EXCEPTION, REFUSED, FAILS, CHECKED, NOT_RUN)


def write_page(record: Record) -> str:
    """Returns the page, as Markdown."""
    parts = [_opening(record), _legend(), _columns(record), _table(record), _reasons(record), _cases(record), _method()]
    return "\n\n".join(parts) + "\n"


def _opening(record: Record) -> str:
    cells = [cell for column in record.columns.values() for cell in column.cells.values()]
    counts = {word: sum(cell.outcome == word for cell in cells) for word in _OUTCOMES}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return (
        "# Conformance of execution providers\n\n"
        "The same cases, with inputs, seeds, forced paths and what eager PyTorch answers, on every execution provider "
        f"that could be had: {len(record.summaries)} cases, {len(cells)} cells, {told}.\n\n"
        "Made by `python -m tests.conformance`; do not edit. `conformance.json` beside it has the same for machines. "
        "CoreML and NNAPI were **not run**: no machine here has them."
    )


def _legend() -> str:
    rows = (
        (f"{HOLDS} 12/14", "every run took the expected path and gave the expected outputs; 12 of 14 nodes were on the "
         "provider, the others on the CPU"),
        (f"{EXCEPTION}", "known not to hold, and does not; the reason is below. One that holds is an error of the "
         "suite"),
        (f"{REFUSED}", "the runtime refuses this form there, as the provider is known to compute it wrongly; run all "
         "the same, it was wrong"),
        (f"({REFUSED})", "the same; run all the same, nothing was wrong here"),
        (f"{CHECKED} 12/14", "not run: the provider would take 12 of 14 nodes, by onnxruntime's usability checker and "
         "the rules for branches; the file has an `.ort` form that opens on the CPU"),
        (NOT_RUN, "nothing is recorded: nobody ran it yet"),
        ("", "not meant for this provider"),
    )  # fmt: skip
    lines = [f"| {word} | {meaning} |" for word, meaning in rows]
    return "\n".join(["| in a cell | meaning |", "|---|---|", *lines])


def _columns(record: Record) -> str:
    lines = ["| runner | runs on | versions | tolerance |", "|---|---|---|---|"]
    for name in COLUMNS:
        column = record.columns.get(name, Column())
        told = ", ".join(f"{key} {value}" for key, value in column.versions.items() if key not in ("machine", "system"))
        if name in MOBILE:
            lines.append(f"| {name} | nothing: {MOBILE[name].rule} | {told or NOT_RUN} | |")
            continue
        runner = RUNNERS[name]
        wider = "the case's"
        if runner.wider is not None:
            wider = f"rtol {runner.wider.rtol:g}, atol {runner.wider.atol:g}: {runner.wider_reason}"
        lines.append(f"| {name} | {runner.machine} | {told or NOT_RUN} | {wider} |")
    return "## Runners\n\n" + "\n".join(lines)


def _table(record: Record) -> str:
    rows = list(dict.fromkeys(cell for column in record.columns.values() for cell in column.cells))
    rows.sort(key=lambda cell: (cell.partition(":")[0], cell.partition(":")[2] != DEFAULT, cell))
    lines = [f"| case | target | {' | '.join(COLUMNS)} |", f"|---|---|{'---|' * len(COLUMNS)}"]
    before = ""
    for cell in rows:
        case, _, target = cell.partition(":")
        words = [_word(name, record.columns.get(name), cell) for name in COLUMNS]
        lines.append(f"| {case if case != before else ''} | {target} | {' | '.join(words)} |")
        before = case
    return "## Cases and targets\n\n" + "\n".join(lines)


def _word(name: str, column: Column | None, cell: str) -> str:
    found = None if column is None else column.cells.get(cell)
    if found is None:
        return ""
    if found.outcome == REFUSED and not found.anyway:
        return f"({REFUSED})"
    on_cpu = name in RUNNERS and RUNNERS[name].provider == CPU
    if found.outcome in (HOLDS, CHECKED) and not on_cpu:
        return f"{found.outcome} {found.nodes_on}/{found.nodes}"
    return f"**{FAILS}**" if found.outcome == FAILS else found.outcome


def _reasons(record: Record) -> str:
    lines = []
    for name in COLUMNS:
        for outcome in (EXCEPTION, REFUSED, FAILS):
            for reason, cells in _grouped(record.columns.get(name, Column()).cells, outcome).items():
                lines.append(f"- {name}, {outcome}: {_escaped(reason)}. {_shown(cells)}")
    return "## Reasons\n\n" + ("\n".join(lines) if lines else "Everything holds.")


def _grouped(cells: Mapping[str, Cell], outcome: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, cell in cells.items():
        if cell.outcome == outcome:
            found.setdefault(cell.reason, []).append(name)
    return found


def _shown(cells: Sequence[str]) -> str:
    """Names of cells, the targets of a case together."""
    of_case: dict[str, list[str]] = {}
    for cell in cells:
        case, _, target = cell.partition(":")
        of_case.setdefault(case, []).append(target)
    return "; ".join(case if t == [DEFAULT] else f"{case} ({', '.join(t)})" for case, t in of_case.items())


def _cases(record: Record) -> str:
    lines = [f"| {name} | {summary} |" for name, summary in record.summaries.items()]
    return "\n".join(["## Cases", "", "| case | what |", "|---|---|", *lines])


def _method() -> str:
    return (
        "## How it is made\n\n"
        "`python -m tests.conformance.make` writes `tests/conformance/cases` from eager torch: each case is a bundle "
        "folder and `runs.json`, which holds all arrays as numbers, so that any language runs it with a JSON parser: "
        "[the format](../tests/conformance/README.md). "
        "`worker.py` runs cases on one provider, without torch, in a process that may crash; `runners/` has an adapter "
        "per provider with its exceptions. `make setup-NAME` makes the environment of a runner, "
        "`python -m pytest -m providers` runs all that are set up."
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").rstrip(".")
