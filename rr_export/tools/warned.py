"""Warnings with their remedies, and what a table says about the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

SIGNS = {"outside": "red", "savings": "red"}


def warning_lines(warnings: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns two lines of markup for each warning: what was found, and the remedy."""
    lines = []
    for warning in warnings:
        colour = SIGNS.get(warning["about"], "yellow")
        lines.append(f"[{colour}]warning:[/] {escape(warning['text'])}")
        lines.append(f"  remedy: {escape(warning['remedy'])}")
    return lines


def machine_line(machine: Mapping[str, Any]) -> str:
    """Returns processor and versions in words."""
    cores = machine["cores"]
    return (
        f"{machine['processor']}, {cores} core{'s' * (cores != 1)}, {machine['architecture']}, {machine['system']}; "
        f"{machine['package']} {machine['onnxruntime']}, numpy {machine['numpy']}, Python {machine['python']}"
    )
