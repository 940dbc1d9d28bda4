"""The matrix as a page to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from survival.cell import CAUGHT, HOLDS, NO_LOAD, NO_RUN, OUTCOMES, REFUSES, SILENT, Outcome
from survival.check import MIXED_SEEDS, SEEDS
from survival.files import INTERFACES, MODELS
from survival.law import FALSE_ALARM, FIRST_RUNS, LONG_RUNS, WHOLE_FIRST_RUNS
from survival.matrix import Matrix
from survival.reference import MAX_PATHS
from survival.tool import EXACT
from survival.tools import TOOLS

HEADINGS = {
    "rewriter": "Rewriters: they must not change what a model computes",
    "quantiser": "Quantisers",
    "precision": "Half precision",
    "reader": "Other engines and settings",
}
SHORT = {HOLDS: "holds", REFUSES: "refuses", NO_LOAD: "no load", NO_RUN: "no run", SILENT: "**silent**"}
MEANINGS = {
    HOLDS: "the same model, within the row's tolerance",
    REFUSES: "the tool raises an error, or writes nothing",
    NO_LOAD: "the engine refuses what the tool wrote",
    NO_RUN: "it loads, and the first run raises an error",
    CAUGHT: "another model, and `rr-export lint` says so: in the table, the rule instead",
    SILENT: "another model, and nobody says so",
}


def write_page(matrix: Matrix) -> str:
    """Returns the page, as Markdown."""
    parts = [_opening(matrix), _legend(), _files()]
    for kind, heading in HEADINGS.items():
        names = [name for name in matrix.cells if TOOLS[name].kind == kind]
        if names:
            parts += [f"## {heading}", _table(matrix, names), _notes(matrix, names)]
    parts += [_remarks(matrix), _method(), _versions(matrix)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(matrix: Matrix) -> str:
    counts = Counter(outcome.outcome for row in matrix.cells.values() for outcome in row.values())
    total = sum(counts.values())
    told = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    return (
        "# Survival of exported files\n\n"
        "Which ONNX tools leave a file that rr_export wrote the same model? Every tool was run on every file, and its "
        f"result compared with the exported file: {total} cells, {told}. Nothing may be silent.\n\n"
        "Made by `python -m survival`; do not edit. `survival.json` beside it has the same for machines."
    )


def _legend() -> str:
    rows = [f"| {SHORT.get(name, 'RR...')} | {MEANINGS[name]} |" for name in OUTCOMES]
    return "\n".join(
        [
            "| in a cell | the file is |",
            "|---|---|",
            *rows,
            "",
            "Three words are the interfaces explicit, host, standalone; one word is all three. In parentheses: the "
            "tool changed neither nodes nor weights. Holds is within the tolerance that the row states, else within "
            f'{EXACT}; with "yet" the linter reports errors all the same.',
        ]
    )


def _files() -> str:
    rows = [f"| {name} | {model.summary} |" for name, model in MODELS.items()]
    return "\n".join(["| file | what |", "|---|---|", *rows])


def _table(matrix: Matrix, names: Sequence[str]) -> str:
    models = [m for m in MODELS if any(f.startswith(f"{m}.") for name in names for f in matrix.cells[name])]
    lines = [f"| tool | what it does | {' | '.join(models)} |", f"|---|---|{'---|' * len(models)}"]
    for name in names:
        cells = [_cell(matrix.cells[name], model) for model in models]
        tool = TOOLS[name]
        what = tool.summary if tool.tolerance == EXACT else f"{tool.summary} (within {tool.tolerance})"
        lines.append(f"| {name} {_version(matrix, name)} | {_escaped(what)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Outcome], model: str) -> str:
    words = [_word(row[file]) for i in INTERFACES if (file := f"{model}.{i}") in row]
    return words[0] if len(set(words)) == 1 else ", ".join(words)


def _word(outcome: Outcome) -> str:
    if outcome.outcome == CAUGHT:
        return " ".join(outcome.codes)
    word = SHORT[outcome.outcome]
    if outcome.outcome == HOLDS and outcome.codes:
        word += f", yet {' '.join(outcome.codes)}"
    return f"({word})" if outcome.outcome == HOLDS and outcome.changed is False else word


def _notes(matrix: Matrix, names: Sequence[str]) -> str:
    """Why cells do not hold: per tool and outcome one reason, and which files it stands for."""
    lines: list[str] = []
    for name in names:
        groups: dict[str, list[str]] = {}
        for file, outcome in matrix.cells[name].items():
            if outcome.outcome != HOLDS:
                groups.setdefault(outcome.outcome, []).append(file)
        for kind, files in groups.items():
            reason = _escaped(matrix.cells[name][files[0]].reason)
            lines.append(f"- {name}: {kind}: {_shown(files, list(matrix.cells[name]))}. {files[0]}: `{reason}`")
    return "\n".join(lines)


def _shown(files: Sequence[str], of: Sequence[str]) -> str:
    """The names of files, those of one model or one interface together."""
    if len(files) == len(of):
        return "all files"
    of_model: dict[str, list[str]] = {}
    for file in files:
        model, _, interface = file.partition(".")
        of_model.setdefault(model, []).append(interface)
    together: dict[tuple[str, ...], list[str]] = {}
    for model, interfaces in of_model.items():
        together.setdefault(tuple(interfaces), []).append(model)
    every = len({file.partition(".")[0] for file in of})
    return "; ".join(
        ("all" if len(models) == every else ", ".join(models))
        + ("" if len(interfaces) == len(INTERFACES) else f" ({', '.join(interfaces)})")
        for interfaces, models in together.items()
    )


def _remarks(matrix: Matrix) -> str:
    """Cells that hold and about which there is still something to say."""
    lines: list[str] = []
    warned = _named_cells(matrix, lambda o: o.outcome == HOLDS and bool(o.codes))
    lines += [f"- the linter reports errors all the same: {name} ({_codes(matrix, name)})" for name in warned]
    gone = _named_cells(matrix, lambda o: o.outcome == HOLDS and o.manifest is False)
    if gone:
        lines.append(
            f"- the manifest is lost, so `rr_runtime.Session` wants the bundle's `manifest.json`: {', '.join(gone)}"
        )
    cut = _named_cells(matrix, lambda o: o.before)
    if cut:
        lines.append(
            "- a standalone file's path was made an input before the tool ran, since its name is gone or the format "
            f"cannot be cut: {', '.join(cut)}"
        )
    return "\n".join(["## Remarks", "", *lines]) if lines else ""


def _named_cells(matrix: Matrix, chosen: object) -> list[str]:
    assert callable(chosen)
    return [name for name, row in matrix.cells.items() if any(chosen(o) for o in row.values())]


def _codes(matrix: Matrix, name: str) -> str:
    return ", ".join(sorted({c for o in matrix.cells[name].values() if o.outcome == HOLDS for c in o.codes}))


def _method() -> str:
    return "\n".join(
        [
            "## How it is made",
            "",
            "Each tool runs with the options named, in a process of its own with a time limit. Its result is opened by "
            "ONNX Runtime's CPU provider (or the engine named) and compared with the exported file:",
            "",
            "| | |",
            "|---|---|",
            f"| paths | all of them (above {4 * MAX_PATHS} a covering set), forced, at two batch sizes: outputs within "
            "the tolerance and nearer to that path's than to any other's; the path taken exactly |",
            f"| streams | {len(SEEDS)} seeds, {len(MIXED_SEEDS)} more with about half of the routes forced (some above "
            "the last), and those of 16384 seeds that draw nearest to each threshold: the plan's path, exactly |",
            "| thresholds | host: draws on either side of every threshold |",
            "| random bits | explicit and standalone: the random node's output is replaced by numbers that spell "
            "seeds, those nearest to each threshold among them: the plan's path, exactly |",
            f"| law | explicit and standalone: first runs of {FIRST_RUNS} sessions and {LONG_RUNS} runs of one: every "
            f"path, marginal and pair of sites against the plan; false-alarm rate {FALSE_ALARM:g} per cell |",
            f"| whole runs | standalone: {WHOLE_FIRST_RUNS} sessions and a long run of the very file: each output is "
            "some path's, and these paths follow the plan |",
            "| laziness | .onnx files: no more products or convolutions outside all branches than before |",
        ]
    )


def _versions(matrix: Matrix) -> str:
    return "## Versions\n\n" + ", ".join(f"{name} {version}" for name, version in matrix.versions.items())


def _version(matrix: Matrix, name: str) -> str:
    return matrix.versions[TOOLS[name].packages[0]]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")
