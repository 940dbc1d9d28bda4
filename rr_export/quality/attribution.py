"""How much each site and branch matters for a metric: single changes of a path, Shapley values, and interactions."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from rr_export.laws.plan import Plan
from rr_export.laws.profile import profile_of
from rr_export.quality.coalitions import SiteGame
from rr_export.quality.judge import Metric
from rr_export.quality.kept_results import ATTRIBUTION, Source, keep_result, kept_result
from rr_export.quality.path_values import PathValues, Progress, TakenPath, open_values
from rr_export.quality.search_methods import single_changes
from rr_export.quality.shapley import interaction_indices, shapley_values
from rr_export.report.plain_table import plain_table
from rr_runtime.draws import check_seed
from rr_runtime.one_line import cut_to_line

PERMUTATIONS = 64
SHOWN = 16  # pairs in a table


@dataclass(frozen=True)
class Ablation:
    """One site takes another route than on the path, the others do not.

    Attributes:
        site: its name.
        branch: what it takes.
        instead_of: what it takes on the path.
        change: what the metric gains by that; negative: the branch of the path is the better one.
    """

    site: str
    branch: str
    instead_of: str
    change: float


@dataclass(frozen=True)
class SiteWorth:
    """The Shapley value of one site.

    Attributes:
        site: its name.
        branch: what it takes on the path.
        value: what that contributes to the metric, beside what the baseline has there.
        error: the standard error of the value over permutations; None where it is exact.
    """

    site: str
    branch: str
    value: float
    error: float | None


@dataclass(frozen=True)
class Interaction:
    """The Shapley interaction index of two sites: above 0 where they are worth more together than apart."""

    sites: tuple[str, str]
    value: float


@dataclass(frozen=True)
class Attribution:
    """What sites and branches are worth around one path.

    Attributes:
        metric: what it is called; more is better.
        path: the path, S routes.
        baseline: a route for every site; None: the law of the plan.
        value: the metric on the path: where all sites take its routes.
        without: the metric where none is made to: on the baseline, or the mean over the law; the Shapley values sum to
            ``value - without``.
        sites: the Shapley value of every site that is reached on the path, in site order.
        interactions: of every pair of them, the largest first; None where values are sampled.
        ablations: for every site that is reached, each other branch.
        permutations: how many orders were sampled; None: the values are exact.
        paths: how many paths were evaluated.
    """

    metric: str
    path: TakenPath
    baseline: tuple[int, ...] | None
    value: float
    without: float
    sites: tuple[SiteWorth, ...]
    interactions: tuple[Interaction, ...] | None
    ablations: tuple[Ablation, ...]
    permutations: int | None
    paths: int

    def __repr__(self) -> str:
        """Shows the sites that matter most."""
        most = sorted(self.sites, key=lambda site: -abs(site.value))[:3]
        told = ", ".join(f"{site.site} {site.value:+.3g}" for site in most)
        return cut_to_line(f"Attribution({self.metric} {self.value:.4g}, without {self.without:.4g}: {told})")

    def table(self) -> Table:
        """Returns Shapley values and single changes as a rich table, a row for each branch."""
        how = "exact" if self.permutations is None else f"{self.permutations} permutations, standard errors in brackets"
        beside = "the law" if self.baseline is None else f"routes {','.join(map(str, self.baseline))}"
        table = Table(
            title=escape(f"{self.metric}: {self.value:.6g} on the path, {self.without:.6g} by {beside}"),
            caption=f"Shapley values ({how}); changes: only that site takes another branch; {self.paths} paths",
        )
        for column in ("site", "branch of the path", "Shapley value", "other branch", "change"):
            table.add_column(
                column, overflow="fold", justify="right" if column in ("Shapley value", "change") else "left"
            )
        for site in self.sites:
            error = "" if site.error is None else f" ({site.error:.2g})"
            first = [escape(site.site), escape(site.branch), f"{site.value:+.4g}{error}"]
            others = [row for row in self.ablations if row.site == site.site]
            for number, row in enumerate(others):
                table.add_row(*(first if number == 0 else ("", "", "")), escape(row.branch), f"{row.change:+.4g}")
            if not others:
                table.add_row(*first, "-", "-")
        return table

    def pairs(self) -> Table:
        """Returns the largest interactions as a rich table."""
        table = Table(title="Shapley interaction indices", caption="above 0: worth more together than apart")
        for column in ("site", "site", "interaction"):
            table.add_column(column, overflow="fold")
        for pair in (self.interactions or ())[:SHOWN]:
            table.add_row(*map(escape, pair.sites), f"{pair.value:+.4g}")
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as a JSON-ready dictionary."""
        return {"format": ATTRIBUTION, "version": 1, **asdict(self)}

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Returns the file, which holds all of it as JSON; an earlier such file is replaced, and no other one.

        Raises:
            ValueError: there is no folder for it, it would be in a bundle, or something else is there.
        """
        return keep_result(self.to_json(), file)

    @classmethod
    def load(cls, source: Source) -> Attribution:
        """Returns what ``save`` has written.

        Args:
            source: the file, or what is in it.

        Raises:
            ValueError: it is not there, or is no such file.
        """
        with kept_result(source, ATTRIBUTION) as told:
            pairs = told["interactions"]
            return cls(
                metric=str(told["metric"]),
                path=tuple(map(int, told["path"])),
                baseline=None if told["baseline"] is None else tuple(map(int, told["baseline"])),
                value=float(told["value"]),
                without=float(told["without"]),
                sites=tuple(SiteWorth(**row) for row in told["sites"]),
                interactions=None if pairs is None else tuple(map(_pair, pairs)),
                ablations=tuple(Ablation(**row) for row in told["ablations"]),
                permutations=None if told["permutations"] is None else int(told["permutations"]),
                paths=int(told["paths"]),
            )

    def __str__(self) -> str:
        """The tables as plain text."""
        return plain_table(self.table(), *([self.pairs()] if self.interactions else []))


def attribute(
    subject: Any,
    data: Iterable[Any],
    metric: Metric,
    *,
    path: Sequence[int] | None = None,
    baseline: Sequence[int] | None = None,
    permutations: int | None = None,
    seed: int = 0,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """Returns how much each site and branch matters for a metric around one path.

    Single changes: the metric where one site that is reached takes another branch, less that on the path. Sites that
    are reached only then take their most probable routes.

    Shapley values: players are the sites that are reached on the path. A coalition is worth the metric where its sites
    take their routes of the path, and the others those of ``baseline``, or, without one, where they draw by the law:
    the mean over it. Up to 12 sites all coalitions are evaluated, and interactions of pairs are told too; of more,
    random orders are.

    Args:
        subject: as for ``evaluate``.
        data: as for ``evaluate``.
        metric: as for ``evaluate``.
        path: a path as a run reports it; None: the most probable one.
        baseline: a route for every site; None: the law.
        permutations: so many random orders, at least 2, in place of all coalitions; None: all where they are few, else
            64. Each evaluates at most as many paths as there are sites, and one.
        seed: of the orders, and of the draws of the law.
        jobs: as for ``evaluate``.
        results: as for ``evaluate``.
        progress: told ("paths", done, expected).

    Raises:
        TypeError, ValueError: an argument cannot be, or the metric gives no number.
        SweepError: ``results`` holds those of something else.
    """
    if permutations is not None and (
        isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < 2
    ):
        raise ValueError(f"permutations: expected an integer of at least 2, got {permutations!r}; 64 is a start")
    check_seed(seed)
    with open_values(subject, data, metric, jobs=jobs, results=results, progress=progress) as values:
        plan = values.subject.plan
        game = SiteGame(plan, _path(plan, path), None if baseline is None else _baseline(plan, baseline))
        return _attributed(values, game, permutations, seed)


def _attributed(values: PathValues, game: SiteGame, permutations: int | None, seed: int) -> Attribution:
    plan, path, players = game.plan, game.path, game.players
    if game.baseline is None:
        plan.marginals()  # which there are none of where the input decides
    usual = [int(np.argmax(law)) for law in plan.evenly().marginals()]
    changes = single_changes(plan, path, [u if r < 0 else r for r, u in zip(path, usual, strict=True)])
    on_path, *changed = values.of([path, *(other for _, _, other in changes)])
    ablations = [
        Ablation(
            plan.sites[i].name, plan.sites[i].branches[k], plan.sites[i].branches[path[i]], v.value - on_path.value
        )
        for (i, k, _), v in zip(changes, changed, strict=True)
    ]

    def worth(paths: Iterable[TakenPath]) -> Any:
        return np.array([value.value for value in values.of(paths)])

    interactions: tuple[Interaction, ...] | None = None
    if permutations is None and game.is_small:
        table = game.exact(worth)
        found, without = shapley_values(table), float(table[0])
        errors: list[float | None] = [None] * len(players)
        interactions = _pairs([plan.sites[i].name for i in players], interaction_indices(table))
    else:
        permutations = PERMUTATIONS if permutations is None else permutations
        gains, without = game.contributions(worth, permutations, seed)
        found = gains.mean(0)
        errors = (gains.std(0, ddof=1) / math.sqrt(permutations)).tolist()
    return Attribution(
        metric=values.metric,
        path=path,
        baseline=game.baseline,
        value=on_path.value,
        without=without,
        sites=tuple(
            SiteWorth(plan.sites[i].name, plan.sites[i].branches[path[i]], float(value), error)
            for i, value, error in zip(players, found, errors, strict=True)
        ),
        interactions=interactions,
        ablations=tuple(ablations),
        permutations=permutations,
        paths=values.count,
    )


def _pair(told: Mapping[str, Any]) -> Interaction:
    one, other = map(str, told["sites"])
    return Interaction((one, other), float(told["value"]))


def _pairs(names: Sequence[str], indices: Any) -> tuple[Interaction, ...]:
    pairs = itertools.combinations(range(len(names)), 2)
    found = [Interaction((names[i], names[j]), float(indices[i, j])) for i, j in pairs]
    return tuple(sorted(found, key=lambda pair: -abs(pair.value)))


def _path(plan: Plan, path: Sequence[int] | None) -> TakenPath:
    found = plan.evenly().most_probable() if path is None else profile_of(plan, path).path
    assert found is not None
    return found


def _baseline(plan: Plan, baseline: Sequence[int]) -> tuple[int, ...]:
    routes = tuple(plan.check_path(baseline).tolist())
    if -1 in routes:
        raise ValueError(
            f"baseline: expected a route for every site, got -1 for {plan.sites[routes.index(-1)].name!r}; give one to "
            "sites that are not reached too"
        )
    return routes
