"""The paths of which none is both better and cheaper: found, shown, and written into a bundle as its menu."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from rr_export.bundle.bundle import Bundle
from rr_export.quality.kept_results import FRONT, Source, keep_result, kept_result
from rr_export.report.plain_table import plain_table
from rr_runtime.one_line import cut_to_line
from rr_runtime.profile import Measured

QUARTERS = (0.25, 0.5, 0.75, 1.0)
SHOWN = 32  # paths in a table


@dataclass(frozen=True)
class PricedPath:
    """A path that was evaluated.

    Attributes:
        path: the path taken, S routes.
        quality: the metric on it; more is better.
        deviation: its standard deviation over the batches of data, or None.
        cost: what it costs, in the unit of the costs.
        share: of the cost of the dearest path of the plan.
    """

    path: tuple[int, ...]
    quality: float
    deviation: float | None
    cost: float
    share: float

    def __repr__(self) -> str:
        return cut_to_line(f"PricedPath({self.quality:.6g} at {self.share:.1%}, path {list(self.path)})")


@dataclass(frozen=True)
class Front:
    """What a search found.

    Attributes:
        metric: what the quality is called.
        unit: of the costs.
        method: how it was searched.
        evaluated: all paths that were evaluated, in that order.
        path_count: how many paths the plan has.
    """

    metric: str
    unit: str
    method: str
    evaluated: tuple[PricedPath, ...]
    path_count: int

    @property
    def paths(self) -> tuple[PricedPath, ...]:
        """Those that no other one is better than at the same cost or less, the cheapest first; of equals one."""
        return undominated(self.evaluated)

    def best(self, share: float) -> PricedPath:
        """Returns the best path that costs at most a share of the dearest one; of equals the cheapest.

        Raises:
            TypeError: the share is no number.
            ValueError: it is not above 0, or every path that was evaluated costs more.
        """
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise TypeError(f"share: expected a number, got {type(share).__name__}; pass one such as 0.6")
        if not share > 0:
            raise ValueError(f"share: expected one above 0, got {share}; pass one such as 0.6")
        meets = [path for path in self.paths if path.share <= share]  # as a budget of a run compares
        if not meets:
            raise ValueError(
                f"share: expected at least {self.paths[0].share:.4g}, the cheapest path that was evaluated, got "
                f"{share}; pass a larger one"
            )
        return meets[-1]

    def menu(self, bundle: Bundle, shares: Sequence[float] | None = None) -> Bundle:
        """Returns the bundle with a profile for each share: the best path within it, with its quality and cost.

        A profile is named by its share, such as ``60%``; where a larger share buys nothing better, it has none. A run
        with ``budget=`` takes the best of them. Paths with such names, those of an earlier menu, go.

        Args:
            bundle: the bundle whose paths these are.
            shares: of the cost of the dearest path; None: the quarters that some path meets.

        Raises:
            ValueError: no path meets a share, the bundle has other sites, or a profile that was measured by another
                metric, with which a budget would compare these.
            BundleError: runs of the bundle take no path.
        """
        asked = (
            sorted(set(shares)) if shares is not None else [q for q in QUARTERS if q >= self.paths[0].share] or [1.0]
        )
        if not asked:
            raise ValueError("shares: expected some, got none; pass such as (0.5, 1.0)")
        kept = {name: told for name, told in bundle.profiles.items() if not (name.endswith("%") and told.path)}
        for name, told in kept.items():
            if told.measured is not None and told.measured.metric != self.metric:
                raise ValueError(
                    f"menu: expected profiles measured by {self.metric!r}, got {name!r} by {told.measured.metric!r}; "
                    "measure it by this one, or take it off the menu"
                )
        bundle, last = replace(bundle, profiles=kept), None
        for share in asked:
            found = self.best(share)
            if found != last:
                measured = Measured(found.share, found.quality, 0.0, self.metric)
                bundle = bundle.with_profile(f"{100 * share:.4g}%", found.path, measured=measured)
            last = found
        return bundle

    def table(self) -> Table:
        """Returns the front as a rich table."""
        paths = self.paths
        every = "all" if len(self.evaluated) == self.path_count else f"{len(self.evaluated)}"
        table = Table(
            title=escape(f"{self.metric} against {self.unit}: {len(paths)} paths, none better and cheaper"),
            caption=f"{every} of {self.path_count} paths evaluated ({self.method})",
        )
        for column in ("share", self.unit, self.metric, "deviation over batches"):
            table.add_column(escape(column), justify="right", no_wrap=True)
        table.add_column("path", overflow="fold")
        for path in paths[:SHOWN]:
            deviation = "-" if path.deviation is None else f"{path.deviation:.3g}"
            routes = ",".join(map(str, path.path))
            table.add_row(f"{path.share:.1%}", f"{path.cost:.6g}", f"{path.quality:.6g}", deviation, routes)
        if len(paths) > SHOWN:
            table.add_row("...", "", "", "", f"and {len(paths) - SHOWN} more")
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as a JSON-ready dictionary."""
        front = set(self.paths)
        rows = [
            {
                "path": list(path.path),
                **{name: getattr(path, name) for name in ("quality", "deviation", "cost", "share")},
                "front": path in front,
            }
            for path in self.evaluated
        ]
        told = {name: getattr(self, name) for name in ("metric", "unit", "method", "path_count")}
        return {"format": FRONT, "version": 1, **told, "paths": rows}

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Returns the file, which holds all of it as JSON; an earlier such file is replaced, and no other one.

        Raises:
            ValueError: there is no folder for it, it would be in a bundle, or something else is there.
        """
        return keep_result(self.to_json(), file)

    @classmethod
    def load(cls, source: Source) -> Front:
        """Returns what ``save``, or ``rr-export search --json``, has written.

        Args:
            source: the file, or what is in it.

        Raises:
            ValueError: it is not there, or is no such file.
        """
        with kept_result(source, FRONT) as told:
            rows = told["paths"]
            if not rows:
                raise ValueError("no path")
            paths = tuple(
                PricedPath(
                    tuple(map(int, row["path"])),
                    float(row["quality"]),
                    None if row["deviation"] is None else float(row["deviation"]),
                    float(row["cost"]),
                    float(row["share"]),
                )
                for row in rows
            )
            metric, unit, method = (str(told[name]) for name in ("metric", "unit", "method"))
            return cls(metric, unit, method, paths, int(told["path_count"]))

    def __str__(self) -> str:
        """The table as plain text."""
        return plain_table(self.table())

    def __repr__(self) -> str:
        """Shows how many there are, and both ends."""
        paths = self.paths
        ends = f"{paths[0].quality:.4g} at {paths[0].share:.0%} to {paths[-1].quality:.4g} at {paths[-1].share:.0%}"
        counts = f"{len(paths)} of {len(self.evaluated)} evaluated paths of {self.path_count}"
        return cut_to_line(f"Front({counts}: {self.metric} {ends} {self.unit})")


def undominated(paths: Sequence[PricedPath]) -> tuple[PricedPath, ...]:
    """Returns those than which no other is as good and as cheap, the cheapest first; of equals the first by routes."""
    kept: list[PricedPath] = []
    for path in sorted(paths, key=lambda p: (p.cost, -p.quality, p.path)):
        if not kept or path.quality > kept[-1].quality:
            kept.append(path)
    return tuple(kept)


def layers_of(paths: Sequence[PricedPath]) -> list[tuple[PricedPath, ...]]:
    """Returns fronts one below the other: each of what those above leave (Deb et al.: NSGA-II, 2002)."""
    left, found = {path.path: path for path in paths}, []
    while left:
        front = undominated(list(left.values()))
        found.append(front)
        left = {key: path for key, path in left.items() if path not in front}
    return found


def spread_out(front: Sequence[PricedPath], count: int) -> list[PricedPath]:
    """Returns some of a front, both ends first, then those with most room around them (Deb et al.: NSGA-II, 2002)."""
    if len(front) <= 2:
        return list(front[:count])
    ordered = sorted(front, key=lambda p: (p.cost, p.path))
    ranges = [max(1e-300, max(x) - min(x)) for x in ([p.cost for p in ordered], [p.quality for p in ordered])]
    room = {
        b.path: (c.cost - a.cost) / ranges[0] + abs(c.quality - a.quality) / ranges[1]
        for a, b, c in zip(ordered, ordered[1:], ordered[2:], strict=False)
    }
    inner = sorted(ordered[1:-1], key=lambda p: (-room[p.path], p.path))
    return [ordered[-1], ordered[0], *inner][:count]
