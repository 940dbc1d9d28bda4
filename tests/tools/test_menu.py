"""The menu: what is best for its cost, what budgets take, its table, and its picture."""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from rr_export.errors import RRExportError
from rr_export.tools import menu_plot
from rr_export.tools.menu import BUDGETS, Menu, MenuRow, menu_of
from rr_export.tools.menu_plot import plot_menu
from rr_runtime.manifest import Manifest
from rr_runtime.one_line import MOST
from rr_runtime.profile import Measured
from tests.runtime import handmade

Figures = dict[str, tuple[float, float, float] | None]
SOME: Figures = {
    "all": (1.0, 0.9, 0.0),
    "half": (0.6, 0.8, 0.05),
    "dear": (0.7, 0.8, 0.05),
    "not measured": None,
    "wild": (0.6, 0.5, 0.2),
    "least": (0.3, 0.6, 0.1),
}


def made(figures: Figures, metric: str = "f1") -> Menu:
    profiles: dict[str, Any] = {}
    for name, row in figures.items():
        profiles[name] = {"path": [0, -1, 0]}
        if row is not None:
            cost, quality, spread = row
            profiles[name]["measured"] = {"cost": cost, "quality": quality, "spread": spread, "metric": metric}
    return menu_of(Manifest.parse({**handmade.manifest(), "profiles": profiles}))


def test_rows_are_by_cost_and_say_what_is_best_and_what_budgets_take() -> None:
    menu = made(SOME)
    assert [row.name for row in menu.rows] == ["least", "half", "wild", "dear", "all"]
    assert [row.name for row in menu.rows if row.best] == ["least", "half", "all"]
    assert {row.name: row.budgets for row in menu.rows if row.budgets} == {
        "least": (0.5,),
        "half": (0.75,),
        "all": (1.0,),
    }
    assert menu.others == ("not measured",) and menu.rows[1].law == "path 0,-1,0"
    told = menu.to_json()
    assert [row["profile"] for row in told["budgets"]] == [None, "least", "half", "all"]
    assert told["profiles"][0] == {
        **{"name": "least", "law": "path 0,-1,0", "cost": 0.3, "quality": 0.6, "spread": 0.1},
        **{"metric": "f1", "best": True},
    }
    assert all(len(repr(thing)) <= MOST for thing in (menu, *menu.rows))


def test_what_is_best_is_what_some_budget_takes() -> None:
    """By the definition: a profile is best where some budget takes it, or one that is equal to it."""
    generator = random.Random(0)
    for _ in range(200):
        figures: Figures = {
            str(n): (generator.randint(1, 6) / 6, generator.randint(0, 5) / 5, 0.0)
            for n in range(generator.randint(1, 7))
        }
        rows = [row for row in figures.values() if row is not None]
        taken = set()
        for budget in {cost for cost, _, _ in rows}:
            within = [row for row in rows if row[0] <= budget]
            most = max(quality for _, quality, _ in within)
            taken.add((min(cost for cost, quality, _ in within if quality == most), most))
        found = {row.name for row in made(figures).rows if row.best}
        assert found == {name for name, row in figures.items() if row is not None and row[:2] in taken}


def test_the_table_says_the_metric_once_or_beside_each() -> None:
    table = made(SOME).table("out")
    cells = [[*column.cells] for column in table.columns]
    assert table.caption == "quality: f1" and cells[1] == ["30.0%", "60.0%", "60.0%", "70.0%", "100.0%"]
    assert cells[2:5] == [
        ["0.6 +- 0.1", "0.8 +- 0.05", "0.5 +- 0.2", "0.8 +- 0.05", "0.9"],
        ["*", "*", "", "", "*"],
        ["0.5", "0.75", "", "", "1"],
    ]
    rows = [MenuRow(metric, "", Measured(0.5, 0.5, 0.0, metric), False, ()) for metric in ("f1", "bleu")]
    two = Menu(tuple(rows), ())
    assert two.table("out").caption is None and [*two.table("out").columns[2].cells] == ["0.5 f1", "0.5 bleu"]
    with pytest.raises(RRExportError, match="--plot: expected one metric, got f1, bleu, whose numbers are no order"):
        plot_menu(two, Path("no.png"), title="")
    with pytest.raises(RRExportError, match="--plot: expected measured profiles, got none"):
        plot_menu(made({"one": None}), Path("no.png"), title="")


CLOSE: Figures = {f"close {n}": (0.5 + 0.005 * (n % 3), 0.8 + 0.004 * (n // 3), 0.01 * n) for n in range(9)}


@pytest.mark.parametrize("figures", [SOME, CLOSE, {"one": (1.0, 0.0, 0.0)}, {"free": (0.0, 5, 0), "same": (0.0, 5, 0)}])
def test_the_picture_names_every_profile_and_no_name_lies_on_another(
    figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    name = menu_plot.name_points

    def watched(canvas: Any, axes: Any, points: Any) -> None:
        name(canvas, axes, points)
        kept.extend(text.get_window_extent(canvas.get_renderer()) for text in axes.texts)

    monkeypatch.setattr(menu_plot, "name_points", watched)
    plot_menu(made(figures, "a <b> $metric$"), tmp_path / "menu.svg", title="out: $1 & _2_")
    assert len(kept) == sum(row is not None for row in figures.values())
    assert not any(one.overlaps(other) for one, other in itertools.combinations(kept, 2))
    text = (tmp_path / "menu.svg").read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    shown = re.findall(r"<!-- (.+?) -->", text)
    assert all(name in shown for name, row in figures.items() if row is not None)
    again = tmp_path / "menu.png"
    plot_menu(made(figures), again, title="out")
    first = again.read_bytes()
    plot_menu(made(figures), again, title="out")
    assert first.startswith(b"\x89PNG") and b"rr-export menu" in first and again.read_bytes() == first


def test_budgets_are_shares() -> None:
    assert BUDGETS == (0.25, 0.5, 0.75, 1.0)
