"""docs/packages.md says of every model what the tests expect of it."""

from __future__ import annotations

from tests.packages.cases import CASES
from tests.packages.page import PAGE, row


def test_the_page_has_every_model_and_no_other() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| model ")]
    assert [line.rpartition(" |")[0].rpartition(" ")[0] for line in (r.replace(" + ", "+") for r in rows)] == [
        row(case) for case in CASES
    ]
