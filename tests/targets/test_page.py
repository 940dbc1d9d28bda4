"""docs/targets.md is what the table of targets says."""

from __future__ import annotations

from pathlib import Path

from rr_export.targets.page import page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_table() -> None:
    assert (DOCS / "targets.md").read_text() == page()
