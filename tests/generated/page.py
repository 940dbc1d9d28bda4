"""The page of the random models: what became of them, and why some were refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean, median

from tests.generated.judge import CRASHED, INVALID, MOST_RUNS, REFUSED, RIGHT, UNTRIED, WRONG, Row

MEANING = {
    RIGHT: "exported, and on three inputs the exact law of the file's outputs is the code's",
    REFUSED: "not exported: an error that names the line, and what to do",
    WRONG: "exported as another model",
    CRASHED: "another error, or no end within the time",
    UNTRIED: f"not compared: on each of the three inputs it has more than {MOST_RUNS:,} runs",
    INVALID: "the model itself fails, which is a fault of the generator",
}
KINDS = {"program": "programs", "sites": "models of sites"}


def write_page(rows: Sequence[Row]) -> str:
    """Returns the page of rows whose reasons are kinds."""
    total = len(rows)
    counts = {kind: Counter(r["outcome"] for r in rows if r["kind"] == kind) for kind in KINDS}
    lines = [
        "# Random models",
        "",
        f"{total:,} models that a random grammar wrote, each exported and compared with an oracle that shares nothing",
        "with the exporter: the model's own code, run with scripted random functions through all sequences of",
        "decisions, with their exact probabilities (models of sites: a tree, run by rules of its own). The file's law",
        "is that of its bytes in ONNX Runtime, every path forced, by the thresholds of its manifest. An input on which",
        f"the code or the file has more than {MOST_RUNS:,} runs is left out.",
        "",
        "Made by `python -m tests.generated`, in several goes whose numbers `generated.json` keeps; do not edit. A",
        "seed writes the same model on every machine.",
        "",
        f"| outcome | {' | '.join(KINDS.values())} | the model is |",
        "|---|---|---|---|",
    ]
    for outcome, meaning in MEANING.items():
        cells = [_share(counts[kind][outcome], sum(counts[kind].values())) for kind in KINDS]
        if outcome not in (UNTRIED, INVALID) or any(counts[kind][outcome] for kind in KINDS):
            lines.append(f"| {outcome} | {' | '.join(cells)} | {meaning} |")
    lines += ["", "## CPU time of an export", "", "| models | median | mean | longest |", "|---|---|---|---|"]
    for kind, name in KINDS.items():
        seconds = [r["seconds"] for r in rows if r["kind"] == kind and r["outcome"] == RIGHT]
        if seconds:
            lines.append(f"| {name} | {median(seconds):.1f} s | {mean(seconds):.1f} s | {max(seconds):.1f} s |")
    lines += _reasons("Why some were refused", [r for r in rows if r["outcome"] == REFUSED])
    bad = [r for r in rows if r["outcome"] in (WRONG, CRASHED, INVALID)]
    return "\n".join([*lines, *_reasons("What is wrong or crashed", bad), ""])


def kind_of_reason(reason: str) -> str:
    """Returns what a message says, without the names and numbers of its model."""
    if not reason:
        return reason
    if reason.startswith("Traceback"):
        reason = reason.strip().splitlines()[-1]
    else:
        reason = re.sub(r"^[^ ]+: expected ", "expected ", reason.splitlines()[0])
        reason = re.sub(r"differences: .*", "differences", reason)
        reason = re.sub(r";[^;]*$", "", reason)
    reason = re.sub(r"'[^']*'|\b\w+\.py:\d+(\[\d+\])?", "...", reason)
    reason = re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "N", reason)
    return reason.replace("|", "/").strip()[:240]


def _reasons(title: str, rows: Iterable[Row]) -> list[str]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["reason"], []).append(row["seed"])
    if not found:
        return []
    lines = ["", f"## {title}", "", "| models | reason | seeds |", "|---|---|---|"]
    for reason, seeds in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        some = ", ".join(map(str, sorted(seeds)[:3])) + (", ..." if len(seeds) > 3 else "")
        lines.append(f"| {len(seeds)} | {reason} | {some} |")
    return lines


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f} %)" if total else "0"
