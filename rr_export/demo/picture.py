"""The demo's picture: quality against measured time, of the file, of untrained skips and of static models."""

from __future__ import annotations

from pathlib import Path

from rr_export.demo.worth import METRIC, Rivals
from rr_export.quality.front import Front
from rr_export.report.earlier import DEMO
from rr_export.tools.plot import COLOURS, clean_axes, require_matplotlib, save_picture


def plot_worth(front: Front, rivals: Rivals, file: Path, *, name: str) -> None:
    """The picture is in a .png or .svg file.

    Args:
        front: all paths of the file.
        rivals: each of their paths is drawn at the time that the same path takes in the file.
        file: where the picture goes.
        name: what the file is called in it.

    Raises:
        RRExportError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots()
    shares = {path.path: 100 * path.share for path in front.evaluated}
    axes.plot(
        *([100 * p.share for p in front.evaluated], [p.quality for p in front.evaluated]),
        *(".",),
        color="#bbbbbb",
        markersize=4,
        label=f"{name}: all {len(front.evaluated)} paths",
    )
    found = {path.path: path.quality for path in front.evaluated}
    series = (
        (f"{name}: the best paths by these names", {p.path: p.quality for p in front.paths}, "o-", COLOURS[0]),
        (f"{name}: the paths of the static models", {p: found[p] for p in rivals.static}, "D-.", COLOURS[3]),
        ("static models, each trained for its path", rivals.static, "s:", COLOURS[2]),
        ("pretrained, layers skipped untrained", rivals.untrained, "^--", COLOURS[1]),
    )
    for label, points, style, colour in series:
        ordered = sorted(points, key=lambda path: shares[path])
        axes.plot(
            *([shares[path] for path in ordered], [points[path] for path in ordered]),
            *(style,),
            color=colour,
            markersize=6,
            linewidth=1.6,
            label=label,
        )
    axes.set_xlim(0, 105)
    axes.set_xlabel("measured time of a query, % of the full path's (static models: that of their path in the file)")
    axes.set_ylabel(f"{METRIC} of functions")
    axes.set_title("all-MiniLM-L6-v2: quality against time", fontsize=11)
    axes.legend(fontsize=9, frameon=False, loc="lower right")
    clean_axes(axes, "both")
    save_picture(figure, file, DEMO)
