"""A table of the terminal as one of HTML: the same figures, written once."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from rr_export.overview.markup import Markup, element, written

# Colours of the terminal, by what they say.
MARKS = {"green": "good", "red": "bad", "yellow": "odd"}
LONG = 18  # letters of a word, beyond which it may be broken
NARROW = 3  # columns that stand side by side on a phone; of more, each row becomes a list


def html_table(table: Table) -> Markup:
    """Returns a rich table as HTML, with its title and its caption."""
    heads = [_text(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    right = [column.justify == "right" for column in table.columns]
    body = [
        element(
            "tr",
            *(
                element("td", _cell(cell), class_=_kind(cell, number=far), data_label=head.plain or None)
                for cell, head, far in zip(row, heads, right, strict=True)
            ),
        )
        for row in rows
    ]
    top = element(
        "tr",
        *(
            element("th", head.plain, scope="col", class_="number" if far else None)
            for head, far in zip(heads, right, strict=True)
        ),
    )
    wide = "wide" if len(heads) > NARROW else None
    return written(
        element("h3", _text(table.title)) if table.title else None,
        element("table", element("thead", top), element("tbody", *body), class_=wide),
        element("p", _text(table.caption), class_="caption") if table.caption else None,
    )


def _kind(cell: object, *, number: bool) -> str | None:
    """How a cell may be broken: numbers not, words whole, what is longer than a word anywhere."""
    return "number" if number else "long" if any(len(w) > LONG for w in _text(cell).plain.split()) else None


def _text(told: object) -> Text:
    return told if isinstance(told, Text) else Text.from_markup(str(told or ""))


def _cell(told: object) -> Markup:
    text = _text(told)
    marks = [mark for span in text.spans for colour, mark in MARKS.items() if colour in str(span.style)]
    first, *others = text.plain.split("\n")
    parts = written(first, *(part for line in others for part in (element("br"), line)))
    return element("span", parts, class_=marks[0] if marks else None)
