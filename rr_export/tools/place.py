"""The tables of ``rr-export place``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rr_export.tools.warned import machine_line, warning_lines

TOLD = {
    "assignment": "nodes as onnxruntime handed them out",
    "profile": "nodes that ran, from the profiles of paths that take every branch",
    None: "which nodes run where is not told",
}


def place_view(result: Mapping[str, Any]) -> list[RenderableType]:
    """Returns where the nodes are, what skipping saves at every site, and warnings with their remedies."""
    parts: list[RenderableType] = [_parts(result), f"{TOLD[result['told_by']]}"]
    if result["sites"]:
        parts.append(_sites(result))
    copies = result["copies"]
    known = "onnxruntime does not tell" if copies is None else str(len(copies))
    lines = [f"copies between devices in the graph: {known}", *warning_lines(result["warnings"])]
    return [*parts, Text.from_markup("\n".join(lines)), escape(machine_line(result["machine"]))]


def _parts(result: Mapping[str, Any]) -> Table:
    table = Table(
        title=escape(f"{result['bundle']}: target {result['target']} ({result['form']}) on {result['provider']}"),
        min_width=60,
    )
    counts = result["counts"]
    names = sorted(counts or {result["provider"]: 0}, key=lambda name: (name != result["provider"], name))
    table.add_column("nodes in")
    for name in names:
        table.add_column(f"on {name}", justify="right")
    for part in result["parts"]:
        table.add_row(escape(part["part"]), *(str(part["providers"].get(name, 0)) for name in names))
    table.add_section()
    table.add_row("all", *("not told" if counts is None else str(counts[name]) for name in names))
    return table


def _sites(result: Mapping[str, Any]) -> Table:
    threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
    table = Table(
        title="what skipping saves",
        caption=f"{result['runs']} interleaved rounds, {threads}; medians of paired differences, and intervals of 95 % "
        "for all sites together; other sites on their most probable routes",
    )
    table.add_column("site", overflow="fold", min_width=8)
    table.add_column("cheapest, ms", overflow="fold")
    table.add_column("dearest, ms", overflow="fold")
    table.add_column("saves ms", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for site in result["sites"]:
        verdict = f"[green]{site['verdict']}[/]" if site["verdict"] == "saves" else site["verdict"]
        table.add_row(
            escape(site["site"]),
            f"{escape(site['cheapest'])} {site['cheapest_ms']:.3f}",
            f"{escape(site['dearest'])} {site['dearest_ms']:.3f}",
            _saving(site["saving_ms"]),
            f"{verdict}; whole If" if site["whole"] else verdict,
        )
    return table


def _saving(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "too few rounds"
    low, median, high = interval
    return f"{median:.3f} ({low:.3f} to {high:.3f})"
