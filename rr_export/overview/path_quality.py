"""Quality against cost over paths: what a search or an evaluation found, and what was measured of the profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.file_names import MODEL
from rr_export.bundle.manifest import as_runtime_reads
from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.laws.profile import profile_of
from rr_export.overview.costs_known import KnownCosts
from rr_export.overview.given_files import GivenFile
from rr_export.overview.section import Absent, Section
from rr_export.quality.front import Front, PricedPath
from rr_export.tools.menu import Menu, menu_of

SEARCH = "rr-export search {bundle} --data MODULE:FUNCTION --metric MODULE:FUNCTION --costs {costs} --json front.json"
# What rr_export.quality.path_values says that a file of values is of.
_OF = re.compile(r"values of paths: (?P<runs>.*); metric (?P<metric>.*) [0-9a-f]+(?: \(whole\))?; data .*", re.DOTALL)


@dataclass(frozen=True)
class PathPoint:
    """A path by what it costs and is worth.

    Attributes:
        share: its cost, as a share of the dearest path's.
        quality: of the metric; more is better.
        front: whether no other path is better and costs no more.
    """

    share: float
    quality: float
    front: bool


@dataclass(frozen=True)
class ProfilePoint:
    """A profile of the menu.

    Attributes:
        name: what it is called.
        share: its cost, as a share of the dearest path's.
        quality: of the metric; more is better.
        spread: the standard deviation of the metric over its paths.
        best: whether no other profile is better and costs no more.
    """

    name: str
    share: float
    quality: float
    spread: float
    best: bool


@dataclass(frozen=True)
class QualityPoints:
    """Paths and profiles by cost and quality.

    Attributes:
        metric: what the quality is.
        unit: of the costs of paths, "" where there are none.
        path_count: how many paths the plan has.
        paths: those that were evaluated.
        profiles: those that were measured by the same metric.
    """

    metric: str
    unit: str
    path_count: int
    paths: tuple[PathPoint, ...]
    profiles: tuple[ProfilePoint, ...]


def quality_section(
    bundle: Bundle, found: GivenFile | None, values: GivenFile | None, known: KnownCosts, *, name: str, called: str
) -> Section:
    """Returns what is said of quality against cost.

    Args:
        bundle: the bundle.
        found: what a search has written, or None.
        values: the record of a search or an evaluation, or None; the search goes before it.
        known: what paths cost, for the record.
        name: of the bundle.
        called: how a command names it.

    Raises:
        ValueError: the file is one of another plan, or the record one of another file.
    """
    menu = menu_of(as_runtime_reads(bundle.manifest, bundle.profiles))
    says, front = [], None
    if found is not None:
        front = _checked(Front.load(found.told), bundle.plan, found)
        says.append(f"What a search found ({found.file.name}).")
    elif values is not None:
        front, said = _from_record(bundle, values, known.costs)
        says += said
    metrics = list(dict.fromkeys(([front.metric] if front else []) + menu.metrics))
    if len(metrics) > 1:
        says.append(f"Several metrics ({', '.join(metrics)}) are no order: what is drawn is {metrics[0]}.")
    tables = [table for table in (front.table() if front else None, menu.table(name) if menu.rows else None) if table]
    drawn = _points(front, menu, metrics[0], bundle.plan) if metrics else None
    costs = "bench.json" if known.measured else (known.costs.unit if known.costs else "flops")
    command = SEARCH.format(bundle=called, costs=costs.lower())
    absent = None
    if not metrics:
        absent = Absent("No quality of paths is known.", f"{command} --menu", "front.json")
    elif front is None:
        absent = Absent("Of single paths nothing is known.", command, "front.json")
    elif not menu.rows:
        absent = Absent("No profile was measured, so there is no menu.", f"{command} --menu")
    title = "Quality against cost"
    return Section("quality", title, tuple(says), tuple(tables), (drawn,) if drawn else (), absent=absent)


def _points(front: Front | None, menu: Menu, metric: str, plan: Plan) -> QualityPoints:
    best = set(front.paths) if front else set()
    return QualityPoints(
        metric,
        front.unit if front else "",
        plan.path_count(),
        tuple(PathPoint(path.share, path.quality, path in best) for path in (front.evaluated if front else ())),
        tuple(
            ProfilePoint(row.name, row.measured.cost, row.measured.quality, row.measured.spread, row.best)
            for row in menu.rows
            if row.measured.metric == metric
        ),
    )


def _checked(front: Front, plan: Plan, given: GivenFile) -> Front:
    """The front, whose paths are those of the plan."""
    _check_paths(given, plan, [path.path for path in front.evaluated])
    if front.path_count != plan.path_count():
        raise ValueError(
            f"{given.file}: expected a search of {plan.path_count()} paths, got one of {front.path_count}; search this "
            "bundle"
        )
    return front


def _check_paths(given: GivenFile, plan: Plan, paths: Sequence[Sequence[int]]) -> None:
    for path in paths:
        try:
            profile_of(plan, path)
        except ValueError as error:
            raise ValueError(
                f"{given.file}: expected paths of this bundle, got {list(path)}, which is none; name a file of this "
                "bundle"
            ) from error


def _from_record(bundle: Bundle, given: GivenFile, costs: Costs | None) -> tuple[Front | None, list[str]]:
    """What a record holds as a front, by costs that are known, and sentences on it."""
    from rr_export.parity.model_file_digest import model_file_digest  # here, as it takes long to import

    of, rows = given.told
    told = _OF.fullmatch(of)
    if told is None:
        raise ValueError(f"{given.file}: expected values of paths, got results of {of!r}; name those of a search")
    runs, metric = told["runs"], told["metric"]
    says = [f"The values that {given.file.name} holds, of {runs.partition(',')[0]}."]
    if runs.startswith("default on ") and bundle.path is not None and bundle.path.is_dir():
        if runs.rpartition(", ")[2] != model_file_digest(bundle.path / MODEL):
            raise ValueError(
                f"{given.file}: expected values of {MODEL} as it is, got those of another file; evaluate this bundle"
            )
    else:
        says.append("Whether they are of this bundle's own model cannot be told.")
    found = {tuple(map(int, key.split(","))): _value(row, given) for key, row in rows.items()}
    _check_paths(given, bundle.plan, list(found))
    says += _over_law(bundle.plan, found, metric)
    if costs is None or not found:
        return None, says
    dearest = costs.dearest(bundle.plan)
    paths = [PricedPath(p, q, None, costs.of(p), costs.of(p) / dearest) for p, q in found.items()]
    return Front(metric, costs.unit, "kept values", tuple(paths), bundle.plan.path_count()), says


def _value(row: Mapping[str, Any], given: GivenFile) -> float:
    from rr_export.quality.path_values import weighted_mean  # here, as it takes long to import

    try:
        return weighted_mean([float(v) for v in row["values"]], [int(n) for n in row["rows"]])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"{given.file}: expected the values of batches, got {type(error).__name__}: {error}; evaluate again"
        ) from error


def _over_law(plan: Plan, found: Mapping[tuple[int, ...], float], metric: str) -> list[str]:
    """The mean and the deviation over the law, where all of it was evaluated."""
    if plan.gates:
        return []
    chances = {path: plan.probability(path) for path in found}
    known = sum(chances.values())
    if known < 1 - 1e-9:
        return [f"They are {len(found)} paths, which a run takes with probability {known:.3g}."]
    mean = sum(chances[path] * value for path, value in found.items())
    spread = max(0.0, sum(chances[path] * (value - mean) ** 2 for path, value in found.items())) ** 0.5
    worst = min(value for path, value in found.items() if chances[path] > 0)
    return [f"Over the bundle's own law {metric} is {mean:.4g} on average, {spread:.2g} apart, {worst:.4g} at worst."]
