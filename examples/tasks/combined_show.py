"""The table, the picture and the sentences of what combinations give."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from examples.tasks.combined import Cell, Combined
from rr_export.tools.plot import COLOURS, clean_axes, save_picture

HEAD = ("", "MB", "menu", "time", "{metric}", "less routed", "largest |d|", "same answer")

MAKER = "python -m examples.tasks.combine"


def cells_of(found: Combined) -> list[tuple[str, ...]]:
    """Returns the rows of the table as texts; what is said of a form stands in its first row."""
    firsts = {cell.form: cell for cell in reversed(found.cells)}
    return [_texts(cell, first=cell is firsts[cell.form]) for cell in found.cells]


def table(found: Combined) -> Table:
    """Returns the combinations as a rich table."""
    made = Table(title=f"{found.title}: routing with pruning, 8 bits and half precision", box=SIMPLE, padding=0)
    for number, name in enumerate(HEAD):
        head = name.format(metric=found.metric).replace(" ", "\n")
        made.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
    for texts in cells_of(found):
        if texts[0] and made.rows:
            made.add_section()
        made.add_row(*texts[:3], texts[3].partition(" ")[0], texts[4], texts[5].replace(" ± ", "±"), *texts[6:])
    return made


def markdown(found: Combined) -> str:
    """Returns the combinations as a table of Markdown."""
    head = [name.format(metric=found.metric).replace("|", "\\|") for name in HEAD]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(texts)} |" for texts in cells_of(found))])


def proofs(found: Combined) -> list[str]:
    """Returns what the proof of every form says, a line each."""
    return [f"{form}: {proof}" for form, proof in dict.fromkeys((c.form, c.proof) for c in found.cells)]


def verdict(found: Combined) -> str:
    """Returns in sentences what is smaller, what is slower, and what loses quality."""
    forms = list(dict.fromkeys(cell.form for cell in found.cells))
    mine = {form: [cell for cell in found.cells if cell.form == form] for form in forms}
    whole = mine["routed"][0].megabytes
    small = min(forms, key=lambda form: mine[form][0].megabytes)
    said = [f"The smallest is *{small}*, {mine[small][0].megabytes / whole:.0%} of the routed file."]
    for word, chosen in (
        ("faster", [form for form in forms[1:] if all(cell.ratio < 0.95 for cell in mine[form])]),
        ("slower", [form for form in forms[1:] if all(cell.ratio > 1.05 for cell in mine[form])]),
    ):
        if chosen:
            ratios = ", ".join(f"*{form}* ({_span([cell.ratio for cell in mine[form]])} times)" for form in chosen)
            said.append(f"On every path of the menu {word} than the routed file here: {ratios}.")
    worse = [form for form in forms[1:] if any(cell.better < -2 * cell.error for cell in mine[form])]
    if worse:
        lost = ", ".join(f"*{form}* ({min(cell.better for cell in mine[form]):+.3f})" for form in worse)
        said.append(f"Beyond twice the standard error worse on a path: {lost}.")
    else:
        said.append("None is worse on a path beyond twice the standard error of the difference.")
    broken = [form for form in forms if "does not hold" in mine[form][0].proof]
    if broken:
        said.append(f"Not within what its proof allows: {', '.join(f'*{form}*' for form in broken)}.")
    return " ".join(said)


def draw(found: Combined, file: Path) -> None:
    """The picture is in a .svg or .png file: size, time and quality of every form, beside the routed file."""
    from matplotlib.figure import Figure

    forms = list(dict.fromkeys(cell.form for cell in found.cells))
    profiles = list(dict.fromkeys(cell.profile for cell in found.cells))
    figure = Figure(figsize=(11, 0.6 + 0.55 * len(forms)), dpi=150, layout="constrained", facecolor="white")
    size, time, quality = figure.subplots(1, 3, sharey=True)
    first = [next(cell for cell in found.cells if cell.form == form) for form in forms]
    size.barh(range(len(forms)), [cell.megabytes for cell in first], color=COLOURS[0], height=0.6)
    for row, cell in enumerate(first):
        size.annotate(f"{cell.megabytes:.2f}", (cell.megabytes, row), (3, 0), textcoords="offset points", va="center")
    size.set_xlim(0, 1.2 * max(cell.megabytes for cell in first))
    for number, profile in enumerate(profiles):
        cells = [cell for cell in found.cells if cell.profile == profile]
        rows = [forms.index(cell.form) + (number - (len(profiles) - 1) / 2) * 0.16 for cell in cells]
        style = {"color": COLOURS[1 + number % 5], "marker": "os^Dv"[number % 5], "linestyle": "none"}
        time.plot([cell.ratio for cell in cells], rows, label=f"menu: {profile}", **style)
        quality.errorbar(
            [cell.better for cell in cells], rows, xerr=[2 * cell.error for cell in cells], capsize=2, **style
        )
    time.axvline(1, color="#555555", linewidth=0.8)
    quality.axvline(0, color="#555555", linewidth=0.8)
    size.set_yticks(range(len(forms)), forms)
    size.invert_yaxis()
    size.set_xlabel("size, MB")
    time.set_xlabel("time of a run,\nthe routed file on that path: 1")
    quality.set_xlabel(f"{found.metric} less the routed file's,\n± 2 standard errors")
    for axes in (size, time, quality):
        clean_axes(axes, grid="x")
    figure.legend(*time.get_legend_handles_labels(), loc="outside upper center", ncols=len(profiles), frameon=False)
    save_picture(figure, file, MAKER)


def _texts(cell: Cell, *, first: bool) -> tuple[str, ...]:
    plain = cell.form == "routed"
    return (
        cell.form if first else "",
        f"{cell.megabytes:.2f}" if first else "",
        cell.profile,
        f"{cell.ratio:.2f} ({cell.share:.0%})",
        f"{cell.quality:.3f}",
        "-" if plain else f"{cell.better:+.3f} ± {cell.error:.3f}",
        "-" if plain else f"{cell.apart:.2g}",
        "-" if plain else f"{cell.agreement:.1%}",
    )


def _span(ratios: list[float]) -> str:
    low, high = (f"{ratio:.2f}" for ratio in (min(ratios), max(ratios)))
    return low if low == high else f"{low} to {high}"
