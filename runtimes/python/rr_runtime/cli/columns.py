"""Lines that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def machine_text(machine: Mapping[str, Any]) -> str:
    """Returns processor and versions in words."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['architecture']}, {machine['system']}; "
        f"{machine['package']} {machine['onnxruntime']}, numpy {machine['numpy']}, Python {machine['python']}"
    )


def warning_texts(warnings: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns two lines for each warning: what was found, and the remedy."""
    return [line for w in warnings for line in (f"warning: {w['text']}", f"  remedy: {w['remedy']}")]
