"""The demo's picture: quality and calibration against measured time, of the file, untrained skips, static models."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rr_export.demo.measure import Figures, Path
from rr_export.demo.worth import METRIC, PathWorth, Rivals
from rr_export.quality.front import Front
from rr_export.report.earlier import DEMO
from rr_export.tools.plot import COLOURS, clean_axes, require_matplotlib, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = tuple[str, Mapping[Path, PathWorth], str, str]  # label, what paths are worth, style, colour


def plot_worth(front: Front, figures: Figures, rivals: Rivals, file: pathlib.Path, *, name: str) -> None:
    """The picture is in a .png or .svg file.

    Args:
        front: all paths of the file.
        figures: what was measured of them.
        rivals: each of their paths is drawn at the time that the same path takes in the file.
        file: where the picture goes.
        name: what the file is called in it.

    Raises:
        RRExportError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5.2), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    own = {path.path: PathWorth(path.names, path.calibration) for path in figures.paths}
    series = (
        (f"{name}: the best paths by these names", {p.path: own[p.path] for p in front.paths}, "o-", COLOURS[0]),
        (f"{name}: the paths of the static models", {p: own[p] for p in rivals.static}, "D-.", COLOURS[3]),
        ("static models, each trained for its path, at its time here", rivals.static, "s:", COLOURS[2]),
        ("pretrained, layers skipped untrained", rivals.untrained, "^--", COLOURS[1]),
    )
    shares = {path.path: 100 * path.share for path in front.evaluated}
    for axes, value in ((left, lambda worth: worth.quality), (right, lambda worth: worth.calibration)):
        _draw(axes, shares, [(f"{name}: all {len(own)} paths", own, ".", "#bbbbbb"), *series], value)
    left.set_ylabel(f"{METRIC} of functions: more is better")
    right.set_ylabel("expected calibration error on names: less is better")
    right.set_ylim(bottom=0)
    figure.suptitle("all-MiniLM-L6-v2: quality and calibration against time", fontsize=11)
    figure.legend(*left.get_legend_handles_labels(), fontsize=9, frameon=False, loc="outside lower center", ncols=2)
    save_picture(figure, file, DEMO)


def _draw(
    axes: Axes, shares: Mapping[Path, float], series: Sequence[Series], value: Callable[[PathWorth], float | None]
) -> None:
    """The axes show a value of the paths of every series, by their share of the time."""
    for label, found, style, colour in series:
        known = [(shares[path], height) for path, worth in found.items() if (height := value(worth)) is not None]
        known.sort()
        axes.plot(
            *([share for share, _ in known], [height for _, height in known]),
            *(style,),
            color=colour,
            markersize=4 if style == "." else 6,
            linewidth=1.6,
            label=label,
        )
    axes.set_xlim(0, 105)
    axes.set_xlabel("measured time of a query, % of the full path's")
    clean_axes(axes, "both")
