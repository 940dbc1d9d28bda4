"""What became of every random model, kept beside the page: ten thousand are judged in several goes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from rr_export.bundle.atomic_write import write_atomically
from tests.generated.judge import Row, kind_of
from tests.generated.page import kind_of_reason

FORMAT = {"format": "rr.generated", "version": 1}


def keep_numbers(file: Path, rows: Iterable[Row]) -> list[Row]:
    """The file has these rows, and those that it had of other models; returns all of them, by their seeds."""
    new = [{**row, "reason": kind_of_reason(row["reason"])} for row in rows]
    known = {row["seed"]: row for row in [*read_numbers(file), *new]}
    merged = [known[seed] for seed in sorted(known)]
    reasons = list(dict.fromkeys(row["reason"] for row in merged))
    number = {reason: i for i, reason in enumerate(reasons)}
    lines = [json.dumps([r["seed"], r["outcome"], number[r["reason"]], round(r["seconds"], 1)]) for r in merged]
    head = json.dumps({**FORMAT, "fields": ["seed", "outcome", "reason", "seconds"], "reasons": reasons})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (f'{head[:-1]}, "models": [\n' + ",\n".join(lines) + "\n]}\n").encode())
    return read_numbers(file)


def read_numbers(file: Path) -> list[Row]:
    """Returns the rows of a file, none where there is no file."""
    if not file.exists():
        return []
    content = json.loads(file.read_text(encoding="utf-8"))
    if {key: content.get(key) for key in FORMAT} != FORMAT:
        raise ValueError(f"{file}: expected {FORMAT}, got {content.get('format')!r}; give another file")
    return [
        {"seed": seed, "kind": kind_of(seed), "outcome": outcome, "reason": content["reasons"][i], "seconds": seconds}
        for seed, outcome, i, seconds in content["models"]
    ]
