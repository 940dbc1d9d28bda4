"""Draws the figures of ``rr-export bench``: the law over paths on the left, the cost of every branch on the right."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rr_export.bundle.atomic_write import write_atomically
from rr_export.errors import RRExportError
from rr_export.report.earlier import BENCH, EARLIER
from rr_runtime.file_places import check_report_file

SUFFIXES = (".png", ".svg")
# Okabe and Ito's palette, which all kinds of colour vision tell apart; black on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = {"law": ("-", "fresh paths"), "most_probable": ("--", "most probable path"), "frozen": (":", "frozen path")}
MOST_BRANCHES = 24  # bars; of more, those of the largest cost are drawn


def require_matplotlib(where: str = "--plot") -> None:
    """Matplotlib is there.

    Args:
        where: what wants it, for the message.

    Raises:
        RRExportError: it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RRExportError(
            f"{where}: expected the package matplotlib, got none; run: pip install 'rr-export[plot]'"
        ) from error


def plot_bench(result: Mapping[str, Any], file: Path) -> None:
    """The picture of a bench is in a .png or .svg file, whose text and lines are legible at 900 pixels.

    Raises:
        RRExportError: matplotlib is not installed, or there is nothing to draw.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    subjects = [subject for subject in result["subjects"] if subject["law"]]
    if not subjects:
        raise RRExportError("--plot: expected figures of one provider at least, got none; see the errors above")
    rows = _branch_rows(subjects)
    height = max(4.8, 2.2 + 0.24 * len(rows) * max(1, len(subjects)))
    figure = Figure(figsize=(12 if rows else 7.5, height), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2 if rows else 1, squeeze=False)[0]
    _draw_law(axes[0], subjects, title=f"{Path(result['bundle']).name}: law over paths of {result['sites']} sites")
    if rows:
        _draw_branches(axes[1], subjects, rows)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, loc="outside upper center", ncols=3, frameon=False)
    machine = result["machine"]
    figure.supxlabel(
        f"{result['runs']} interleaved rounds, {result['threads']} thread{'s' * (result['threads'] > 1)}; "
        f"{machine['processor']}, {machine['architecture']}; {machine['package']} {machine['onnxruntime']}",
        fontsize=9,
        color="#555555",
    )
    save_picture(figure, file, BENCH)


def check_picture(file: Path) -> None:
    """A picture can be drawn there, and takes the place of nothing but an earlier one.

    Raises:
        ValueError: the name ends otherwise, or something else is there.
        RRExportError: matplotlib is not installed.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--plot: expected a name that ends in .png or .svg, got {file}; rename it")
    check_report_file(file, option="--plot", earlier=EARLIER["plot"])
    require_matplotlib()


def save_picture(figure: Any, file: Path, maker: str) -> None:
    """The figure is in the file, with what made it, by which it may be replaced; equal figures give equal files."""
    made = {"Date": None, "Creator": maker} if file.suffix.lower() == ".svg" else {"Software": maker}
    import matplotlib

    written = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": maker}):  # by which parts are named, else at random
        figure.savefig(written, format=file.suffix.lower().removeprefix("."), metadata=made)
    write_atomically(file, written.getvalue())


def _draw_law(axes: Any, subjects: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Distribution functions: the share of runs that take at most so long."""
    highest = 0.0
    lowest = np.inf
    for subject, first in zip(subjects, _colours(subjects), strict=True):
        for (key, (style, words)), other in zip(STYLES.items(), COLOURS, strict=False):
            if subject[key] is None:
                continue
            colour = first if len(subjects) > 1 else other
            samples = np.sort(subject[key]["samples_ms"])
            share = np.arange(1, len(samples) + 1) / len(samples)
            name = f"{subject['target']} on {subject['provider']}, {words}"
            width = 2.4 if key == "law" else 1.6
            axes.step(samples, share, style, where="post", color=colour, linewidth=width, label=name)
            if key == "law":
                _mark(axes, subject[key], colour)
            highest = max(highest, subject[key]["p99"])
            lowest = min(lowest, float(samples[0]))
    axes.set_xscale("log")
    axes.set_xlim(lowest * 0.9, highest * 1.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _is_round(value) else "")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("milliseconds of a run")
    axes.set_ylabel("share of runs at most so long")
    axes.set_title(f"{title} (dots: p50, p95, p99)", fontsize=11)
    clean_axes(axes, "both")


def _mark(axes: Any, law: Mapping[str, float], colour: str) -> None:
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        axes.plot(law[name], share, "o", color=colour, markersize=6, markeredgecolor="white", zorder=5)


def _draw_branches(axes: Any, subjects: Sequence[Mapping[str, Any]], rows: Sequence[tuple[str, str, str]]) -> None:
    """Bars of paired differences with their intervals, one group for each branch, the first site on top."""
    shown = [subject for subject in subjects if subject["branches"]]
    thick = 0.8 / len(shown)
    for number, subject in enumerate(shown):
        costs = {(e["site"], e["branch"], e["instead_of"]): e["cost_ms"] for e in subject["branches"]}
        colour = _colours(subjects)[subjects.index(subject)]
        for place, row in enumerate(rows):
            if row not in costs:
                continue
            low, median, high = costs[row]
            spread = None if low is None else [[median - low], [high - median]]
            axes.barh(
                place + (number - (len(shown) - 1) / 2) * thick,
                median,
                height=thick * 0.9,
                xerr=spread,
                color=colour,
                error_kw={"elinewidth": 1.2, "capsize": 2.5, "ecolor": "#222222"},
            )
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(
        range(len(rows)), [f"{site}: {branch}\n(usual: {usual})" for site, branch, usual in rows], fontsize=8.5
    )
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds more (or less) than with the site's usual branch")
    axes.set_title("cost of a branch (95 % intervals)", fontsize=11)
    clean_axes(axes, "x")


def _branch_rows(subjects: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Site, branch and usual branch of what is drawn, in the order of the sites."""
    costs: dict[tuple[str, str, str], float] = {}
    for subject in subjects:
        for entry in subject["branches"]:
            key = (entry["site"], entry["branch"], entry["instead_of"])
            costs[key] = max(costs.get(key, 0.0), abs(entry["cost_ms"][1]))
    kept = set(sorted(costs, key=lambda key: -costs[key])[:MOST_BRANCHES])
    return [key for key in costs if key in kept]


def _colours(subjects: Sequence[object]) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(subjects))]


def _is_round(value: float) -> bool:
    """Tells whether a number is 2 or 5 times a power of 10."""
    leading = f"{value:e}"
    return leading.startswith(("2.000", "5.000"))


def clean_axes(axes: Any, grid: str) -> None:
    """The axes have a light grid behind what is drawn, and no frame on top and at the right."""
    axes.grid(axis=grid, which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
