"""How plans, paths and what a seed gives are written in the files of known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference import Plan, draws, mix64, routes_of, taken_of

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def text_of(path: Sequence[int]) -> str:
    """Returns a path with one character per site: - for -1, else the route in base 36."""
    return "".join("-" if route < 0 else DIGITS[route] for route in path)


def written_plan(plan: Plan) -> dict[str, Any]:
    """Returns a plan as JSON has it."""
    return {
        "name": plan.name,
        "tables": [
            {
                "probabilities": [list(law) for law in table],
                "thresholds": [[float(t) for t in row] for row in rows],
            }
            for table, rows in zip(plan.tables, plan.thresholds, strict=True)
        ],
        "sites": [
            {
                "table": site.table,
                "calls": site.calls,
                "chain": site.chain,
                "step": None if site.chain is None else site.step,
            }
            for site in plan.pattern
        ],
        "repeat": plan.repeat,
    }


def case_of(plan: Plan, seed: int, asked: Sequence[int]) -> dict[str, Any]:
    """Returns what a seed and an asked path give."""
    latent = routes_of(plan, draws(seed, len(plan.sites)), asked)
    return {
        "plan": plan.name,
        "seed": str(seed),
        "path": text_of(asked),
        "routes": text_of(latent),
        "taken": text_of(taken_of(plan, latent)),
    }


def free(plan: Plan) -> list[int]:
    """Returns the path that asks for nothing."""
    return [-1] * len(plan.sites)


def some_path(plan: Plan, number: int, *, share: int) -> list[int]:
    """Returns an arbitrary path; of ten sites about `share` are forced."""
    asked = []
    for i in range(len(plan.sites)):
        chance = mix64(number * 1000003 + i)
        asked.append((chance >> 20) % plan.branches(i) if chance % 10 < share else -1)
    return asked
