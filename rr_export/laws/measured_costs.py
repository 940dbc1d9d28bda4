"""Milliseconds of every branch, read from what ``rr-export bench`` measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rr_export.laws.plan import Plan
from rr_runtime.one_line import list_few

Rows = tuple[tuple[float, ...], ...]


def read_bench(source: Mapping[str, Any] | str | os.PathLike[str], plan: Plan, form: str | None) -> tuple[float, Rows]:
    """Returns what every run takes, and what every branch adds, in milliseconds.

    Args:
        source: the figures, or the file that has them.
        plan: the sites that they are of.
        form: the name of one of the forms that were timed; None: the only one.

    Raises:
        ValueError: these are no such figures, or not of these sites, or of several forms of which none is named.
    """
    result = source if isinstance(source, Mapping) else _read(Path(source))
    try:
        if result["tool"] != "bench":
            raise KeyError("tool")
        found = {subject["name"]: subject["model"] for subject in result["subjects"] if subject["model"]}
        chosen = _chosen(found, form)
        rows = [(e["site"], e["branch"], float(e["cost_ms"])) for e in chosen["branches"]]
        base = float(chosen["base_ms"])
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            "bench: expected the figures that rr-export bench --json writes, got others; measure again"
        ) from error
    costs: dict[str, dict[str, float]] = {}
    for name, branch, cost in rows:
        costs.setdefault(name, {})[branch] = cost
    for site in plan.sites:
        named = costs.get(site.name, {})
        if len(named) != len(site.branches) or named.keys() != set(site.branches):
            raise ValueError(
                f"bench: expected figures of the branches {list_few(site.branches)} of site {site.name!r}, got "
                f"{list_few(named) or 'none'}; bench the plan's own bundle"
            )
    others = sorted(costs.keys() - {site.name for site in plan.sites})
    if others:
        raise ValueError(
            f"bench: expected sites of the plan alone, got {list_few(others)}; bench the plan's own bundle"
        )
    return base, tuple(tuple(costs[site.name][branch] for branch in site.branches) for site in plan.sites)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file}: expected the figures that rr-export bench --json writes, got {error}; name such a file"
        ) from error


def _chosen(found: Mapping[str, Any], form: str | None) -> Any:
    if form is None and len(found) == 1:
        return next(iter(found.values()))
    if form is None or form not in found:
        raise ValueError(
            f"bench: expected one form of which every branch was timed ({list_few(found) or 'there is none'}), got "
            f"{form!r}; name one of them"
        )
    return found[form]
