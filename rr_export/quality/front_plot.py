"""Draws what ``rr-export search`` found: every evaluated path by its cost and quality, and the front."""

from __future__ import annotations

from pathlib import Path

from rr_export.quality.front import Front
from rr_export.report.earlier import SEARCH
from rr_export.tools.plot import COLOURS, clean_axes, require_matplotlib, save_picture


def plot_front(front: Front, file: Path, *, title: str) -> None:
    """The picture of a front is in a .png or .svg file.

    Raises:
        RRExportError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots()
    paths = front.paths
    axes.plot(
        *([100 * p.share for p in front.evaluated], [p.quality for p in front.evaluated]),
        *("o",),
        color="#999999",
        markersize=4,
        label=f"{len(front.evaluated)} of {front.path_count} paths",
    )
    axes.step(
        [*(100 * p.share for p in paths), 100.0],
        [*(p.quality for p in paths), paths[-1].quality],
        "-",
        where="post",
        color=COLOURS[0],
        linewidth=1.6,
    )
    axes.errorbar(
        [100 * p.share for p in paths],
        [p.quality for p in paths],
        fmt="o",
        color=COLOURS[0],
        markersize=6,
        label=f"{len(paths)} of which none is better and cheaper",
    )
    axes.set_xlabel(f"cost, % of the dearest path ({front.unit})")
    axes.set_ylabel(front.metric)
    axes.set_title(f"{title}: {front.metric} against cost ({front.method})", fontsize=11)
    axes.legend(fontsize=9, frameon=False)
    clean_axes(axes, "both")
    save_picture(figure, file, SEARCH)
