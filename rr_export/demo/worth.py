"""When routing pays: the paths of the file by quality and measured time, beside other ways to run fewer layers."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from rr_export.demo.measure import Figures
from rr_export.quality.front import Front, PricedPath
from rr_runtime.one_line import cut_to_line

RIVALS = Path(__file__).with_name("rivals.json")
METRIC = "MRR on names"
SHARES = tuple(tenth / 10 for tenth in range(1, 11))  # of the full path's time
SAID = 3  # layers of which the verdict speaks


@dataclass(frozen=True)
class PathWorth:
    """What a path is worth with names of functions as queries.

    Attributes:
        quality: mean of 1 / rank of the answer.
        calibration: the expected calibration error of what is found first; None: not measured.
    """

    quality: float
    calibration: float | None


@dataclass(frozen=True)
class Rivals:
    """What was measured once of other ways to run fewer layers, by path.

    Attributes:
        untrained: of the pretrained model with layers skipped.
        static: of models that were trained for one path each.
        python: the version whose documents were searched.
        documents: how many there were.
    """

    untrained: dict[tuple[int, ...], PathWorth]
    static: dict[tuple[int, ...], PathWorth]
    python: str
    documents: int

    def __repr__(self) -> str:
        return cut_to_line(f"Rivals({len(self.untrained)} untrained, {len(self.static)} static)")


def read_rivals() -> Rivals:
    """Returns the figures of ``rivals.json``, which says how they were made."""
    told: dict[str, Any] = json.loads(RIVALS.read_text(encoding="utf-8"))
    untrained, static = (
        {tuple(r["path"]): PathWorth(r["names"], r.get("calibration")) for r in told[kind]}
        for kind in ("untrained", "static")
    )
    return Rivals(untrained, static, told["python"], told["documents"])


def shares_of_time(figures: Figures) -> dict[int, float]:
    """Returns the time of a query over that of all layers, by the number of layers, which are all alike."""
    by_layers = {
        layers: statistics.median(f.time for f in figures.paths if f.layers == layers)
        for layers in {f.layers for f in figures.paths}
    }
    dearest = max(by_layers.values())
    return {layers: time / dearest for layers, time in by_layers.items()}


def front_of(figures: Figures) -> Front:
    """Returns all paths with their quality, the MRR with names as queries, and their share of the measured time."""
    shares = shares_of_time(figures)
    evaluated = tuple(
        PricedPath(f.path, f.names, None, shares[f.layers] * figures.full_seconds * 1e3, shares[f.layers])
        for f in figures.paths
    )
    return Front(METRIC, "ms", "all paths", evaluated, len(evaluated))


def menu_shares(front: Front) -> tuple[float, ...]:
    """Returns the tenths of the dearest path's time that some path meets."""
    return tuple(share for share in SHARES if share >= front.paths[0].share)


def worth_table(front: Front, figures: Figures) -> Table:
    """Returns the best paths by the names of functions, and what they are worth on the questions."""
    measured = {f.path: f for f in figures.paths}
    table = Table(
        title=f"Paths of which none is better on names and faster: {len(front.paths)} of {front.path_count}",
        caption="1/rank with the names of functions as queries, by which these paths were chosen, and with the "
        "questions, by which they were not; off: how far the certainty on names is from how often it is right; time: "
        "of the full path's",
    )
    for name in ("path", "time", "names", "off", "questions"):
        table.add_column(name, justify="right")
    for path in front.paths:
        routes = "".join(map(str, path.path))
        own = measured[path.path]
        table.add_row(
            *(routes, f"{path.share:.0%}", f"{path.quality:.3f}", f"{own.calibration:.3f}", f"{own.quality.mrr:.3f}")
        )
    return table


def verdict(front: Front, figures: Figures, rivals: Rivals) -> str:
    """Returns one sentence that says when routing pays, of a path that every rival has."""
    found = {path.path: path for path in front.evaluated}
    full = max(rivals.untrained, key=sum)
    path = next(path for path in rivals.static if sum(path) == SAID)
    own = next(p.calibration for p in figures.paths if p.path == path)
    others = ", ".join(
        "not measured" if w.calibration is None else f"{w.calibration:.3f}"
        for w in (rivals.untrained[path], rivals.static[path])
    )
    whole = rivals.untrained[full].quality
    apart = [found[p].quality - worth.quality for p, worth in rivals.static.items()]
    kept, bare, alone = (w.quality / whole for w in (found[path], rivals.untrained[path], rivals.static[path]))
    return (
        f"Routing pays where the time for a query changes: with {SAID} of {len(full)} layers, in "
        f"{found[path].share:.0%} of the time, this one file keeps {kept:.0%} of the pretrained model's {METRIC} (the "
        f"same layers untrained {bare:.0%}, a model trained for them alone {alone:.0%}), is as sure as it is right "
        f"within {own:.3f} ({others}), and "
        f"stands in for {len(apart)} such models, from which it is {min(apart):+.3f} to {max(apart):+.3f} apart; where "
        "the time is always the same, a model trained for it alone is about as good, and smaller."
    )
