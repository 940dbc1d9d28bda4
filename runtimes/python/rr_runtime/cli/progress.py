"""How far a command is, on standard error."""

from __future__ import annotations

import json
import sys

PROGRESS = "rr-progress: "  # before each line of progress that is for a machine


def tell_machine(stage: str, done: int, total: int) -> None:
    """Writes a line that another program reads."""
    print(f"{PROGRESS}{json.dumps([stage, done, total])}", file=sys.stderr, flush=True)


def tell_person(stage: str, done: int, total: int) -> None:
    """Writes over the line before on a terminal; elsewhere a line as each stage begins."""
    if sys.stderr.isatty():
        print(f"\r\033[K{stage} {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)
    elif done == 0:
        print(f"{stage} ...", file=sys.stderr, flush=True)
