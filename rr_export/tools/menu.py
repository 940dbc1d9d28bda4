"""The menu of a bundle: its measured profiles by what they cost, the front of the best, and what budgets take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from rr_runtime.manifest import Manifest
from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.profile import Measured, best_within, figures, law_in_short

BUDGETS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class MenuRow:
    """One profile of a menu.

    Attributes:
        name: what it is called.
        law: what it is, in a few words.
        measured: what was measured of it.
        best: whether no other one is better and costs no more, or as good and costs less.
        budgets: which of ``BUDGETS`` take it.
    """

    name: str
    law: str
    measured: Measured
    best: bool
    budgets: tuple[float, ...]

    def __repr__(self) -> str:
        return cut_to_line(f"MenuRow({self.name!r}: {self.measured!r})")


@dataclass(frozen=True)
class Menu:
    """The measured profiles of a bundle.

    Attributes:
        rows: by cost, of equal ones the best first.
        others: names of the profiles that were not measured.
    """

    rows: tuple[MenuRow, ...]
    others: tuple[str, ...]

    @property
    def metrics(self) -> list[str]:
        """What was measured, each once: qualities of several metrics are no order."""
        return list(dict.fromkeys(row.measured.metric for row in self.rows))

    def table(self, title: str) -> Table:
        """Returns the menu as a rich table."""
        one = len(self.metrics) == 1
        table = Table(
            title=f"{escape(title)}: the menu", caption=f"quality: {escape(self.metrics[0])}" if one else None
        )
        for column in ("profile", "cost", "quality", "best", "budgets", "law"):
            table.add_column(column, overflow="fold", no_wrap=column in ("cost", "best"))
        for row in self.rows:
            cost, quality, spread, metric = figures(row.measured)
            told = [quality, *([f"+- {spread}"] if row.measured.spread else []), *([] if one else [metric])]
            budgets = ", ".join(f"{budget:g}" for budget in row.budgets)
            table.add_row(*map(escape, (row.name, cost, " ".join(told), "*" * row.best, budgets, row.law)))
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns the menu as a JSON-ready dictionary."""
        taken = {budget: row.name for row in self.rows for budget in row.budgets}
        return {
            "format": "rr.menu",
            "version": 1,
            "profiles": [
                {"name": row.name, "law": row.law, **asdict(row.measured), "best": row.best} for row in self.rows
            ],
            "budgets": [{"budget": budget, "profile": taken.get(budget)} for budget in BUDGETS],
            "not_measured": list(self.others),
        }

    def __repr__(self) -> str:
        return cut_to_line(f"Menu({list_few(row.name for row in self.rows) or 'nothing'})")


def menu_of(manifest: Manifest) -> Menu:
    """Returns the menu that a manifest has."""
    measured = {name: p.measured for name, p in manifest.profiles.items() if p.measured is not None}
    taken: dict[str, list[float]] = {}
    for budget in BUDGETS:
        if any(figure.cost <= budget for figure in measured.values()):
            taken.setdefault(best_within(manifest.profiles, budget).name, []).append(budget)
    rows = [
        MenuRow(
            name,
            law_in_short(manifest.profiles[name], manifest.sites),
            figure,
            not any(_beats(other, figure) for other in measured.values()),
            tuple(taken.get(name, ())),
        )
        for name, figure in measured.items()
    ]
    rows.sort(key=lambda row: (row.measured.cost, -row.measured.quality))
    return Menu(tuple(rows), tuple(name for name in manifest.profiles if name not in measured))


def front(rows: Sequence[MenuRow]) -> list[Measured]:
    """Returns Pareto's front, by cost (Miettinen, Nonlinear Multiobjective Optimization, 1999)."""
    return [row.measured for row in rows if row.best]


def _beats(one: Measured, other: Measured) -> bool:
    """Whether one is at least as good and as cheap, and better in one of both."""
    better = one.quality >= other.quality and one.cost <= other.cost
    return better and (one.quality, one.cost) != (other.quality, other.cost)
