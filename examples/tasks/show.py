"""The table and the picture of a comparison, and the sentence that says when routing pays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from examples.tasks.comparison import SHARES, Comparison, Row
from rr_export.tools.plot import save_picture

LESS = "(less is better)"  # how the names of such figures end
SHOWN = 1.25  # of the time of the static model of all layers: what takes longer stands at the edge, with its share
STYLES = {  # kind -> colour, marker, line, words
    "routed": ("#1f5fa8", "o", "-", "routed, one file"),
    "static": ("#c2571a", "s", "--", "static, one file for each size"),
    "skipped": ("#7d7d7d", "v", ":", "trained without routing, layers skipped"),
    "pruned": ("#2f8f4e", "^", "", "pruned by magnitude"),
    "int8": ("#8a4fb0", "D", "", "int8"),
}
HEAD = ("", "layers", "ms", "time", "{metric}", "less static", "deviation", "worst path", "MB")


def cells(found: Comparison) -> list[tuple[str, ...]]:
    """Returns the rows of the table as texts."""
    whole = _whole(found)

    def one(row: Row) -> tuple[str, ...]:
        def number(value: float | None, error: float | None = None, form: str = ".3f") -> str:
            if value is None:
                return "-"
            return f"{value:{form}}" + (f" ± {error:.3f}" if error is not None else "")

        return (
            row.name,
            str(row.layers),
            f"{row.milliseconds:.2f}",
            f"{row.milliseconds / whole.milliseconds:.0%}",
            number(row.quality, row.error),
            number(row.better, row.better_error, "+.3f"),
            number(row.deviation),
            number(row.worst),
            f"{row.megabytes:.2f}",
        )

    return [one(row) for row in found.rows]


def table(found: Comparison) -> Table:
    """Returns the comparison as a rich table."""
    made = Table(title=f"{found.title}: {found.metric} on the test data, from the exported files", caption=found.data)
    for number, name in enumerate(HEAD):
        made.add_column(name.format(metric=found.metric), justify="left" if number == 0 else "right", no_wrap=True)
    last = ""
    for row, texts in zip(found.rows, cells(found), strict=True):
        if last and row.kind != last:
            made.add_section()
        made.add_row(*texts)
        last = row.kind
    return made


def markdown(found: Comparison) -> str:
    """Returns the comparison as a table of Markdown."""
    return _markdown([name.format(metric=found.metric) for name in HEAD], cells(found))


def answers(found: Comparison) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns head and rows of the table of whole answers, as texts; what a row lacks is a dash."""
    names = list(dict.fromkeys(name for figures in found.decoded.values() for name in figures))
    rows = [
        (row, *(f"{figures[name]:.3f}" if name in figures else "-" for name in names))
        for row, figures in found.decoded.items()
    ]
    return ["", *names], rows


def answers_table(found: Comparison) -> Table:
    """Returns the figures of whole answers as a rich table."""
    head, rows = answers(found)
    made = Table(title=f"{found.title}: whole answers, written by the exported files")
    for number, name in enumerate(head):
        made.add_column(name, justify="left" if number == 0 else "right")
    for texts in rows:
        made.add_row(*texts)
    return made


def answers_markdown(found: Comparison) -> str:
    """Returns the figures of whole answers as a table of Markdown."""
    return _markdown(*answers(found))


def _markdown(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' + '---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(texts)} |" for texts in rows)])


def overview(all_found: Sequence[Comparison]) -> str:
    """Returns, for every task, how the routed file differs from the static model of each size, as a table of Markdown.

    What is at or above it is bold; the sizes are shares of the layers, and their errors stand below.
    """

    def cell(row: Row) -> str:
        told = f"{row.better or 0.0:+.3f}"
        return f"**{told}**" if (row.better or 0.0) >= 0 else f"{told} ± {row.better_error or 0.0:.3f}"

    head = ["routed less static", "score", *(f"{share:.0%} of the layers" for share in SHARES)]
    lines = [
        (found.title, found.metric, *(cell(row) for row in found.rows if row.kind == "routed")) for found in all_found
    ]
    return _markdown(head, lines)


def said(found: Comparison) -> str:
    """Returns what paths of the routed file give for an example, as a list of Markdown, or nothing."""

    def code(text: str) -> str:
        """Texts may have backticks, so as many as none of them has stand around."""
        fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
        space = " " if len(fence) > 1 else ""
        return f"{fence}{space}{' '.join(text.split())}{space}{fence}"

    return "\n".join(f"- {row}: {code(text)}" for row, text in found.said.items())


def verdict(found: Comparison) -> str:
    """Returns where one routed file is at or above the static models, where it is not, and which other rivals beat it.

    What is below is told apart by whether it is by more than twice the standard error of the difference, row by row.
    """
    rows = [row for row in found.rows if row.kind == "routed" and row.better is not None]
    below = [row for row in rows if (row.better or 0.0) < 0]
    surely = [row for row in below if (row.better or 0.0) < -2 * (row.better_error or 0.0)]
    said = ", ".join(row.name.split()[1] for row in rows if row not in below) or "no"
    tail = "".join(
        f"; {words} at {', '.join(f'{row.name.split()[1]} ({row.better:+.3f})' for row in those)}"
        for words, those in (
            ("below it, but within twice the standard error,", [row for row in below if row not in surely]),
            ("below it", surely),
        )
        if those
    )
    times = {row.layers: row.milliseconds for row in found.rows if row.kind == "static"}
    ratios = [row.milliseconds / times[row.layers] for row in rows if row.layers in times]
    slower = f" A path takes {median(ratios):.2f} times what the static model of as many layers does." if ratios else ""
    told = f"One routed file is at or above the static model of the same size at {said} layers{tail}."
    return told + slower + _beaten(found)


def _beaten(found: Comparison) -> str:
    """Which rivals, beside the static ones, are better than every path that takes no longer (or 5 %: noise)."""
    told = []
    for rival in (row for row in found.rows if row.kind not in ("static", "routed")):
        times = 1.05 * rival.milliseconds
        beside = [row.quality for row in found.rows if row.kind == "routed" and row.milliseconds <= times]
        if beside and rival.quality > max(beside):
            told.append(f"{rival.name} ({rival.quality - max(beside):+.3f})")
    return f" Better than every path of it that takes no longer: {', '.join(told)}." if told else ""


def answers_verdict(found: Comparison) -> str:
    """Returns where the whole answers of the routed file are worse than those of the static model of the same size."""
    lost = []
    for figure in answers(found)[0][1:]:
        sizes = [name.split()[1] for name in found.decoded if name.startswith("routed ")]
        less = {
            size: found.decoded[f"routed {size}"][figure] - found.decoded[f"static {size}"][figure] for size in sizes
        }
        sign = -1 if figure.endswith(LESS) else 1
        worse = ", ".join(f"{size} ({value:+.3f})" for size, value in less.items() if sign * value < 0)
        lost += [f"{figure} at {worse} layers"] if worse else []
    said = "; ".join(lost) or "nowhere"
    return f"Whole answers of the routed file are worse than those of the static model of the same size in: {said}."


def draw(found: Comparison, file: Path) -> None:
    """The picture of quality against time is in the file (.svg or .png)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    whole = _whole(found)
    figure, axes = pyplot.subplots(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    for kind, (colour, marker, line, words) in STYLES.items():
        rows = sorted((r for r in found.rows if r.kind == kind), key=lambda row: row.milliseconds)
        if not rows:
            continue
        times: list[Any] = [row.milliseconds / whole.milliseconds for row in rows]
        style = {"color": colour, "marker": marker, "linestyle": line or "none", "capsize": 3, "label": words}
        for at, row in zip(times, rows, strict=True):
            if at > SHOWN:  # else one slow rival would press all others together
                place: Any = {"xytext": (-7, -12), "textcoords": "offset points", "ha": "right", "fontsize": 8}
                axes.annotate(f"{at:.0%} \N{RIGHTWARDS ARROW}", (SHOWN, row.quality), color=colour, **place)
        times = [min(at, SHOWN) for at in times]
        axes.errorbar(times, [r.quality for r in rows], yerr=[r.error for r in rows], **style)
    axes.set_xlabel("time of a run, as a share of the static model of all layers")
    axes.set_ylabel(found.metric)
    axes.set_title(found.title)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    save_picture(figure, file, f"examples.tasks {found.task}")
    pyplot.close(figure)


def _whole(found: Comparison) -> Row:
    """The static model of all layers, whose time is the unit."""
    return max((row for row in found.rows if row.kind == "static"), key=lambda row: row.layers)
