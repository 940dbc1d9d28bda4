"""What a page draws: cost curves, quality against cost, what branches are worth, and chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rr_export.overview.branch_worth import Worths
from rr_export.overview.chain_steps import Chain
from rr_export.overview.cost_curves import CostCurve, CostCurves
from rr_export.overview.inline_svg import DOTS, INK, LINE, PAPER, SOFT, inline_svg, new_figure
from rr_export.overview.markup import Markup, clean
from rr_export.overview.path_quality import QualityPoints
from rr_export.report.short_numbers import short_number
from rr_export.tools.menu_plot import name_points
from rr_export.tools.plot import COLOURS, clean_axes

MOST_CURVES = 4  # of profiles that are laws, as there are colours
MOST_BARS = 32  # sites whose branches are drawn
MOST_STEPS, MOST_BRANCHES, TOLD_BRANCHES = 24, 8, 3  # of a chain; and up to which transitions are told in numbers
MOST_LETTERS, ACROSS, UP = 44, 50, 28  # of a name beside a line, below a figure, and beside it

BEHIND = {"boxstyle": "round,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85}  # of text over lines


def draw_costs(found: CostCurves, key: str) -> Markup:
    """Returns the distribution functions of what runs cost, one line for each law."""
    from matplotlib.ticker import EngFormatter

    laws = [curve for curve in found.curves if curve.kind == "profile" and len(curve.values) > 1][:MOST_CURVES]
    paths = [curve for curve in found.curves if curve.kind == "profile" and len(curve.values) == 1]
    own = [curve for curve in found.curves if curve.kind != "profile"]
    shown = [*own, *laws]
    with new_figure(2.7 + 0.17 * (len(shown) + bool(paths))) as figure:
        axes = figure.subplots()
        left, right = _range(found)
        colours = iter([COLOURS[0], *COLOURS[2:]])  # the second one is that of paths
        for curve in shown:
            line = {"own": ("-", 2.2), "timed": ("--", 1.4)}.get(curve.kind, ("-", 1.3))
            colour = DOTS if curve.kind == "timed" else next(colours)
            axes.plot(*_stairs(curve, left, right), line[0], color=colour, linewidth=line[1], label=_short(curve.name))
        if paths:
            at = [curve.values[0] for curve in paths]
            names = f"profiles of one path ({len(paths)})" if len(paths) > 1 else _short(paths[0].name)
            axes.plot(at, [0.5] * len(at), "D", color=COLOURS[1], markersize=5, label=names)
        axes.set_xlim(left, right)
        axes.set_ylim(0, 1.03)
        if right >= 1e4:
            axes.xaxis.set_major_formatter(EngFormatter())  # 2 M
            axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(_short(f"{found.unit} of a run ({found.source})", ACROSS), parse_math=False)
        axes.set_ylabel("share of runs at most so dear")
        clean_axes(axes, "both")
        _legend(figure, axes)
        return inline_svg(figure, key=key, says="Distribution of what a run costs, for each law")


def draw_quality(found: QualityPoints, key: str) -> Markup:
    """Returns every evaluated path by cost and quality, the front, and the profiles of the menu."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with new_figure(3.6) as figure:
        axes = figure.subplots()
        front = sorted((path for path in found.paths if path.front), key=lambda path: path.share)
        if found.paths:
            label = f"{len(found.paths)} of {short_number(found.path_count)} paths"
            at = [100 * path.share for path in found.paths], [path.quality for path in found.paths]
            axes.plot(*at, "o", color=DOTS, markersize=3.5, label=label)
            corners = [100 * path.share for path in front], [path.quality for path in front]
            ends = [*corners[0], max(100.0, corners[0][-1])], [*corners[1], corners[1][-1]]
            axes.step(*ends, where="post", color=COLOURS[0], linewidth=1.6)
            axes.plot(*corners, "o", color=COLOURS[0], markersize=5.5, label=f"{len(front)}, none better and cheaper")
        for number, profile in enumerate(found.profiles):
            axes.errorbar(
                100 * profile.share,
                profile.quality,
                yerr=profile.spread or None,
                fmt="D",
                color=COLOURS[1],
                markerfacecolor=COLOURS[1] if profile.best else PAPER,
                markersize=6,
                elinewidth=1.1,
                capsize=3,
                zorder=4,
                label=None if number else "profiles (bars: deviation over paths)",
            )
        axes.margins(x=0.12, y=0.16)
        unit = f" ({found.unit})" if found.unit else ""
        axes.set_xlabel(_short(f"cost, % of the dearest path{unit}", ACROSS), parse_math=False)
        axes.set_ylabel(_short(found.metric, UP), parse_math=False)
        clean_axes(axes, "both")
        _legend(figure, axes)
        told = [(clean(p.name), 100 * p.share, p.quality, p.spread) for p in found.profiles]
        name_points(FigureCanvasAgg(figure), axes, told)
        return inline_svg(figure, key=key, says=f"{found.metric} against cost, for paths and profiles")


def draw_worths(found: Worths, key: str) -> Markup:
    """Returns a bar for the Shapley value of each site's branch, with its standard error."""
    kept = sorted(found.rows, key=lambda row: -abs(row.value))[:MOST_BARS]
    rows = [row for row in found.rows if row in kept]
    with new_figure(0.75 + 0.36 * len(rows)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            colour = COLOURS[0] if row.value >= 0 else COLOURS[1]
            error = (
                {"xerr": row.error, "error_kw": {"elinewidth": 1.1, "capsize": 2.5, "ecolor": INK}} if row.error else {}
            )
            axes.barh(place + 0.2, row.value, height=0.34, color=colour, **error)
            axes.text(
                0.0,
                place - 0.2,
                _short(f"{row.site}: {row.branch}"),
                transform=axes.get_yaxis_transform(),
                va="center",
                parse_math=False,
            )
        axes.axvline(0, color=LINE, linewidth=0.9)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(_short(f"Shapley value ({found.metric})", ACROSS), parse_math=False)
        clean_axes(axes, "x")
        return inline_svg(figure, key=key, says="What each site's branch is worth")


def draw_chain(found: Chain, key: str) -> Markup | None:
    """Returns the steps of a chain from top to bottom, shaded by their marginals; None where a step has many branches.

    A line is as wide as a run is likely to go along it; its number is the probability of the transition.
    """
    steps = found.steps[:MOST_STEPS]
    if max(len(step.branches) for step in steps) > MOST_BRANCHES:
        return None
    with new_figure(0.98 * len(steps), layout=None) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        for t, step in enumerate(steps):
            count = len(step.branches)
            said = _short(f"step {t}: {step.site}")
            axes.text(0.0, t - 0.36, said, color=SOFT, va="center", parse_math=False, zorder=3, bbox=BEHIND)
            for k, (name, chance) in enumerate(zip(step.branches, step.marginals, strict=True)):
                _node(axes, (_across(k, count), t), _short(name, max(3, 46 // count - 2)), chance, count)
            if t + 1 < len(steps):
                _transitions(axes, t, step.marginals, steps[t + 1].transitions)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(len(steps) - 0.72, -0.5)
        axes.set_axis_off()
        return inline_svg(figure, key=key, says="The steps of the chain, their transitions and marginals")


PICTURES: dict[type, Callable[[Any, str], Markup | None]] = {
    CostCurves: draw_costs,
    QualityPoints: draw_quality,
    Worths: draw_worths,
    Chain: draw_chain,
}


def _range(found: CostCurves) -> tuple[float, float]:
    """From where to where costs are drawn; of timed runs those of a busy machine lie beyond."""
    timed = [curve for curve in found.curves if curve.kind == "timed"]
    low = min([found.cheapest, *(curve.values[0] for curve in timed)])
    high = max([found.dearest, *(min(curve.percentiles[95], 1.5 * found.dearest) for curve in timed)])
    room = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return low - room, high + room


def _stairs(curve: CostCurve, left: float, right: float) -> tuple[list[float], list[float]]:
    """The corners of a distribution function, from one end of the axis to the other."""
    x, y = [left], [0.0]
    for value, below in zip(curve.values, curve.below, strict=True):
        x += [value, value]
        y += [y[-1], below]
    return [*x, max(right, x[-1])], [*y, y[-1]]


def _legend(figure: Any, axes: Any) -> None:
    found = axes.get_legend_handles_labels()
    if found[1]:
        legend = figure.legend(*found, fontsize=9, loc="outside upper left", ncols=1, frameon=False, borderpad=0.1)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _across(k: int, count: int) -> float:
    """The middle of a branch's box, from 0 to 1."""
    return (k + 0.5) / count


def _node(axes: Any, place: tuple[float, float], name: str, chance: float, count: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    half, tall = min(0.14, 0.42 / count), 0.2
    x, y = place
    for colour, alpha in ((PAPER, 1.0), (COLOURS[0], 0.06 + 0.5 * chance)):
        axes.add_patch(
            FancyBboxPatch(
                (x - half, y - tall),
                2 * half,
                2 * tall,
                boxstyle="round,pad=0,rounding_size=0.02",
                facecolor=colour,
                alpha=alpha,
                linewidth=0,
                zorder=3,
            )
        )
    axes.text(x, y - 0.07, name, ha="center", va="center", zorder=4, parse_math=False, fontsize=8.5)
    axes.text(x, y + 0.1, f"{chance:.3g}", ha="center", va="center", zorder=4, fontsize=8.5)


def _transitions(axes: Any, t: int, marginals: Sequence[float], rows: Sequence[Sequence[float]]) -> None:
    top, bottom, told = t + 0.2, t + 0.8, max(len(rows), len(rows[0])) <= TOLD_BRANCHES
    for j, row in enumerate(rows):
        for k, chance in enumerate(row):
            if chance == 0:
                continue
            start, end = _across(j, len(rows)), _across(k, len(row))
            width = 0.4 + 7 * marginals[j] * chance
            axes.plot([start, end], [top, bottom], color=LINE, linewidth=width, solid_capstyle="butt", zorder=1)
            if told:
                x, y = start + 0.3 * (end - start), top + 0.3 * (bottom - top)
                axes.text(x, y, f"{chance:.2g}", ha="center", va="center", fontsize=8.5, zorder=2, bbox=BEHIND)


def _short(text: str, most: int = MOST_LETTERS) -> str:
    """A text in one line of so many letters, its middle left out where it is longer; without what SVG cannot have."""
    line = clean(" ".join(text.split()))
    kept = most - 1
    return line if len(line) <= most else f"{line[: kept - kept // 2]}\u2026{line[len(line) - kept // 2 :]}"
