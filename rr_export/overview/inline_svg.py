"""Figures of matplotlib as SVG inside of a page: text stays text, and colours follow the page."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rr_export.overview.markup import Markup, element
from rr_export.tools.plot import COLOURS

# Colours that figures are drawn in, and no others -> the variables of page.css that stand for them.
VARIABLES = {
    "#000000": "--ink",
    "#555555": "--soft",
    "#777777": "--soft",
    "#999999": "--dots",
    "#aaaaaa": "--line",
    "#dddddd": "--grid",
    "#ffffff": "--paper",
    **{colour.lower(): f"--series-{number}" for number, colour in enumerate(COLOURS)},
}
INK, SOFT, DOTS, LINE, GRID, PAPER = "#000000", "#555555", "#999999", "#aaaaaa", "#dddddd", "#ffffff"
WIDTH = 4.0  # inches, of every figure: at the width of a phone a text of 9 points has 11 pixels
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
}
_NAMESPACE = re.compile(r"\{[^}]*\}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_FONT = re.compile(r"font: [^;]*?([\d.]+)px[^;]*")


@contextmanager
def new_figure(height: float, layout: Literal["constrained"] | None = "constrained") -> Iterator[Any]:
    """Yields an empty figure of the width of a phone; text that no font of this machine has is left to the browser.

    Args:
        height: in inches.
        layout: "constrained", or None where the axes are put by hand.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # where names leave no room
        yield Figure(figsize=(WIDTH, height), layout=layout)


def inline_svg(figure: Any, *, key: str, says: str) -> Markup:
    """Returns a figure of ``new_figure`` as an ``svg`` element.

    Args:
        figure: the figure.
        key: begins the names of its parts, which differ from those of other figures of the page then.
        says: what is to be seen, for those who do not see it.
    """
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": key}):  # by which parts are named, else at random
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(drawn.getvalue())
    box = root.attrib["viewBox"]
    parts = [_converted(child, key) for child in root if _local(child.tag) != "metadata"]
    return element("svg", element("title", says), *parts, viewBox=box, role="img")


def _converted(node: ET.Element, key: str) -> Markup:
    """A node as HTML has it: without namespaces, its names made the figure's own."""
    attributes = {}
    for name, value in node.attrib.items():
        local = _local(name)
        if local == "id":
            value = f"{key}-{value}"
        elif local == "href":
            value = f"#{key}-{value.removeprefix('#')}"
        elif local == "style":
            value = _styled(value)
        attributes[local] = value.replace("url(#", f"url(#{key}-")
    text = node.text if node.text and node.text.strip() else None
    if _local(node.tag) == "style":
        return Markup("")  # of all figures alike: it is in page.css
    return element(_local(node.tag), text, *(_converted(child, key) for child in node), **attributes)


def _styled(style: str) -> str:
    style = _FONT.sub(r"font-size: \1px", style)
    return _COLOUR.sub(lambda found: f"var({VARIABLES[found[0].lower()]})", style)


def _local(name: str) -> str:
    return _NAMESPACE.sub("", name)
