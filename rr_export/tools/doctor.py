"""The tables of ``rr-export doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rr_export.tools.warned import machine_line, warning_lines


def doctor_view(result: Mapping[str, Any]) -> list[RenderableType]:
    """Returns the providers, what each does with the bundle where there is one, and warnings with their remedies."""
    parts: list[RenderableType] = [_providers(result), escape(machine_line(result["machine"]))]
    tried = [entry for entry in result["providers"] if entry["bundle"] is not None]
    if not tried:
        return parts
    parts.append(bundle_table(result))
    for entry in tried:
        found = entry["bundle"]
        lines = [f"[red]fails:[/] {escape(found['error'])}"] if found["error"] else []
        if found["whole"]:
            names = ", ".join(found["whole"])
            lines.append(f"it takes whole Ifs, with all branches, at: {escape(names)} (rr-export place times them)")
        lines += warning_lines(found["warnings"])
        if lines:
            parts.append(Text.from_markup("\n".join([f"\n[bold]{escape(entry['name'])}[/]", *lines])))
    return parts


def _providers(result: Mapping[str, Any]) -> Table:
    table = Table(title="execution providers")
    table.add_column("provider", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("package", overflow="fold")
    table.add_column("runs on; why not, or how to get it", overflow="fold")
    for entry in result["providers"]:
        package = f"{entry['package']} {entry['version']}\n{entry['kind']}" if entry["package"] else "-"
        why = entry["why"] if entry["package"] else entry["install"]
        table.add_row(
            escape(entry["name"]),
            "[green]yes[/]" if entry["available"] else "no",
            escape(package),
            escape(entry["hardware"] if entry["available"] else why),
        )
    return table


def bundle_table(result: Mapping[str, Any]) -> Table:
    """Returns what each provider does with the bundle, as a rich table."""
    table = Table(title=escape(f"{result['bundle']}: what each would do with it"))
    table.add_column("provider", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("form")
    table.add_column("opens")
    table.add_column("nodes on it", justify="right")
    table.add_column("on the CPU", justify="right")
    table.add_column("golden cases")
    for entry in result["providers"]:
        found = entry["bundle"]
        if found is None:
            continue
        on_it, on_cpu = (_nodes(found, name) for name in (entry["name"], "cpu"))
        table.add_row(
            escape(entry["name"]),
            escape(found["target"]),
            found["form"] or "-",
            "yes" if found["opens"] else "[red]no[/]",
            on_it,
            "-" if entry["name"] == "cpu" else on_cpu,
            _golden(found),
        )
    return table


def _nodes(found: Mapping[str, Any], provider: str) -> str:
    if not found["opens"]:
        return "-"
    return "not told" if found["nodes"] is None else str(found["nodes"].get(provider, 0))


def _golden(found: Mapping[str, Any]) -> str:
    if not found["opens"]:
        return "-"
    if found["golden"]:
        return f"[green]{found['golden']} hold[/]"
    return "not compared" if any(w["about"] == "golden" for w in found["warnings"]) else "[red]FAIL[/]"
