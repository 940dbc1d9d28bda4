"""Sites whose lines moved are found again by their order, and by nothing else."""

from __future__ import annotations

import pytest

import rr_export as rr
from rr_export.laws.moved_lines import moved_sites, told_moved

BRANCHES = ("0..0.5", "0.5..1")


def sites(*names: str, kind: str = "python") -> list[rr.Site]:
    return [rr.Site(name, BRANCHES, rr.Uniform(2), kind) for name in names]


def test_lines_that_moved_are_told_in_the_order_of_sites() -> None:
    before, after = sites("m.py:7[0]", "m.py:7[1]", "a/m.py:9"), sites("m.py:8[0]", "m.py:8[1]", "a/m.py:9")
    moved = moved_sites(before, after)
    assert moved == {"m.py:7[0]": "m.py:8[0]", "m.py:7[1]": "m.py:8[1]"} and moved_sites(before, before) == {}
    assert told_moved(moved).startswith("2 of them on other lines of the code now, such as m.py:7[0] on m.py:8[0]")


@pytest.mark.parametrize(
    "after",
    [
        sites("m.py:8", "m.py:9"),
        sites("other.py:7"),
        sites("b/m.py:7"),
        sites("m.py:8[0]"),
        sites("m.py:8", kind="layer"),
    ],
)
def test_other_sites_have_not_moved(after: list[rr.Site]) -> None:
    assert moved_sites(sites("m.py:7"), after) == {}
