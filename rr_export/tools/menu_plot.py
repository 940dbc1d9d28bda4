"""Draws a menu: quality against cost, what costs least for what it is worth, and how far paths are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rr_export.errors import RRExportError
from rr_export.report.earlier import MENU
from rr_export.tools.menu import Menu, front
from rr_export.tools.plot import COLOURS, clean_axes, require_matplotlib, save_picture

BEST, OTHER = COLOURS[0], "#777777"
LED = 12  # points up or down, beyond which a line leads from a name to its point
# Where a name may stand beside its point: points to the right and up, and how it is aligned; the first that is free.
PLACES = (
    *((8, 6, "left", "bottom"), (8, -6, "left", "top"), (-8, 6, "right", "bottom"), (-8, -6, "right", "top")),
    *((0, 12, "center", "bottom"), (0, -12, "center", "top")),
    *(
        (side * across, way * up, "left" if side > 0 else "right", "bottom" if way > 0 else "top")
        for up in (20, 34, 48)
        for across in (16, 32)
        for side in (1, -1)
        for way in (1, -1)
    ),
)


def plot_menu(menu: Menu, file: Path, *, title: str) -> None:
    """The picture of a menu is in a .png or .svg file.

    Args:
        menu: the menu.
        file: what is written.
        title: what it is the menu of.

    Raises:
        RRExportError: matplotlib is not installed, nothing was measured, or by several metrics.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not menu.rows:
        raise RRExportError("--plot: expected measured profiles, got none; give them what was measured")
    if len(menu.metrics) > 1:
        raise RRExportError(
            f"--plot: expected one metric, got {', '.join(menu.metrics)}, whose numbers are no order; measure all "
            "profiles by one"
        )
    figure = Figure(figsize=(8, 5.2), dpi=150, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    best = front(menu.rows)
    corners = [100 * found.cost for found in best], [found.quality for found in best]
    axes.step(*corners, where="post", color=BEST, linewidth=1.6, zorder=2)
    for row in menu.rows:
        colour = BEST if row.best else OTHER
        axes.errorbar(
            100 * row.measured.cost,
            row.measured.quality,
            yerr=row.measured.spread or None,
            fmt="o",
            color=colour,
            markerfacecolor=colour if row.best else "white",
            markersize=7,
            elinewidth=1.1,
            capsize=3,
            zorder=3,
        )
    axes.margins(x=0.1, y=0.14)
    axes.set_xlabel("expected cost of a run, % of the most expensive path")
    axes.set_ylabel(menu.metrics[0], parse_math=False)
    axes.set_title(title, fontsize=11, parse_math=False)
    clean_axes(axes, "both")
    spread = "; bars: one standard deviation over paths" if any(row.measured.spread for row in menu.rows) else ""
    figure.supxlabel(f"blue: best for its cost; line: what a budget gets{spread}", fontsize=9, color="#555555")
    told = [(row.name, row.measured) for row in menu.rows]
    name_points(canvas, axes, [(name, 100 * found.cost, found.quality, found.spread) for name, found in told])
    save_picture(figure, file, MENU)


def name_points(canvas: Any, axes: Any, points: Sequence[tuple[str, float, float, float]]) -> None:
    """Every point has its name beside it, where it covers nothing and is nearest to its own point, or else at a line.

    A point is (name, x, y, spread of y).
    Of places that all cover something it takes the one that covers least.
    """
    from matplotlib.transforms import Bbox

    canvas.draw()  # fixes where the axes are
    renderer = canvas.get_renderer()
    taken, spots = [], []
    for _, x, y, spread in points:
        (left, low), (right, high) = (axes.transData.transform((x, y + side * spread)) for side in (-1, 1))
        taken.append(Bbox.from_extents(left - 8, min(low, high - 16), right + 8, max(high, low + 16)))
        spots.append(axes.transData.transform((x, y)))
    for (name, x, y, _), own in zip(points, spots, strict=True):
        shown = " ".join(name.split())
        tried: list[tuple[int, int, Any, Any]] = []
        for across, up, horizontal, vertical in PLACES:
            led = abs(up) > LED
            text = axes.annotate(
                shown if len(shown) <= 24 else f"{shown[:21]}...",
                (x, y),
                (across, up),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=9,
                parse_math=False,
                arrowprops={"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.7} if led else None,
            )
            box = text.get_window_extent(renderer)
            strange = not led and any(_apart(spot, box) < _apart(own, box) for spot in spots)
            covered = sum(box.overlaps(other) for other in taken) + (not _holds(axes.bbox, box)) + strange
            tried.append((covered, len(tried), text, box))
            if not covered:
                break
        *others, (_, _, _, kept) = sorted(tried, key=lambda row: row[:2], reverse=True)
        for _, _, text, _ in others:
            text.remove()
        taken.append(kept)


def _apart(spot: Any, box: Any) -> float:
    """How far a point is from a box."""
    return math.dist(spot, (min(max(spot[0], box.x0), box.x1), min(max(spot[1], box.y0), box.y1)))


def _holds(outer: Any, inner: Any) -> bool:
    return bool(outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1)
