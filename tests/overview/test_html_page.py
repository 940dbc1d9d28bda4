"""The page: whole, escaped, without anything from outside, and in colours that can be read in light and dark."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import rr_export as rr
from rr_export.overview.gathered import Overview, overview_of
from rr_export.overview.html_page import STYLE, html_page
from rr_export.overview.html_table import html_table
from rr_export.overview.inline_svg import VARIABLES, inline_svg, new_figure
from rr_export.overview.markup import Markup, clean, element, written
from rr_export.overview.terminal import terminal_view
from tests import nets
from tests.overview.known import HOSTILE, bare, files_of, learned, plain

VOID = {"meta", "link", "br", "col"}
OUTSIDE = re.compile(r"https?:|@import|url\((?!#)", re.IGNORECASE)  # in a style
LOADING = {"src", "srcset", "data", "poster", "action", "background"}


class Reader(HTMLParser):
    """What a page is made of; it raises where elements are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"{tag} closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)


@pytest.fixture(scope="module")
def everything(rich: Path) -> Overview:
    return overview_of(rr.load(rich), files_of(rich), name=str(rich))


@pytest.fixture(scope="module")
def page(everything: Overview) -> str:
    return html_page(everything)


def faults(page: str) -> list[str]:
    """What a page must not have: parts from outside, code, two parts of one name, links to nowhere, strange colours."""
    read = Reader(page)
    body = page.partition("<body>")[2]
    styles = [STYLE.read_text(encoding="utf-8"), *(value or "" for name, value in read.attributes if name == "style")]
    found = [f"outside: {match[0]}" for style in styles for match in OUTSIDE.finditer(style)]
    found += [f"outside: {name}" for name, _ in read.attributes if name in LOADING]
    found += [f"element {name}" for name in read.names if name in {"script", "img", "iframe", "object", "form"}]
    found += [f"code {name}" for name, _ in read.attributes if name.startswith("on")]
    found += [f"twice {name}" for name in {name for name in read.ids if read.ids.count(name) > 1}]
    found += [f"nowhere {link}" for link in read.links if link != "data:," and link[1:] not in read.ids]
    found += [f"nowhere {name}" for name in re.findall(r"url\(#([^)]+)\)", body) if name not in read.ids]
    found += [f"colour {colour}" for colour in re.findall(r"(?:fill|stroke)[:=]\s*\"?(#[0-9a-f]+)", body)]
    return found


def test_the_page_is_whole(page: str, everything: Overview) -> None:
    read = Reader(page)
    assert faults(page) == []
    assert page.startswith('<!doctype html>\n<html lang="en">') and page.endswith("</html>\n")
    assert {section.key for section in everything.sections} <= set(read.ids)
    assert read.names.count("figure") == 4 and read.names.count("svg") == 4 and read.names.count("h1") == 1
    assert "default-src &#x27;none&#x27;" in page and 'content="width=device-width, initial-scale=1"' in page


@pytest.mark.parametrize("made", [bare, plain, learned, lambda: rr.export(nets.gated(), (nets.example(),), golden=0)])
def test_pages_of_other_bundles_are_whole(made: object) -> None:
    assert callable(made)
    assert faults(html_page(overview_of(made(), name="out"))) == []


def test_names_are_text_whatever_they_are(page: str) -> None:
    texts = "".join(Reader(page).texts)
    shown = clean(HOSTILE).removesuffix("\ufffd")  # which tables leave away
    assert texts.count(shown) >= 6 and "<script" not in page and "<img" not in page and "\x07" not in page
    assert "<b>same</b> & so" in texts and "&lt;b&gt;same&lt;/b&gt; &amp; so" in page


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ('<br src="https://host/x.png">', "outside: src"),
        ("<script>1</script>", "element script"),
        ('<p onclick="1">a</p>', "code onclick"),
        ('<p id="model">a</p>', "twice model"),
        ('<a href="#none">a</a>', "nowhere #none"),
        ('<i style="fill: #ff0000">a</i>', "colour #ff0000"),
        ('<i style="background: url(x.png)">a</i>', "outside: url("),
    ],
)
def test_faults_of_a_page_are_found(part: str, fault: str, page: str) -> None:
    assert fault in faults(page.replace("<main>", f"<main>{part}"))


def test_elements_that_are_not_closed_are_found(page: str) -> None:
    with pytest.raises(AssertionError):
        Reader(page.replace("</main>", ""))


def test_only_markup_is_markup() -> None:
    made = element("p", "<i>", Markup("<b>b</b>"), None, 3, class_="a", title='"<', hidden=False, open=True, data_a="x")
    assert made == '<p class="a" title="&quot;&lt;" open data-a="x">&lt;i&gt;<b>b</b>3</p>'
    assert element("br") == "<br>" and written("a\0b") == "a\ufffdb" and clean("\ud800\x0b\n") == "\ufffd\ufffd\n"


def test_a_table_of_the_terminal_is_one_of_the_page() -> None:
    table = Table(title="a [bold]b[/]", caption=r"c \[d]")
    table.add_column("name")
    table.add_column("n", justify="right")
    table.add_row("[green]holds[/]", r"1 \[x]")
    table.add_row("one\ntwo", "a" * 40)
    made = html_table(table)
    assert "<h3>a b</h3>" in made and "c [d]" in made and '<th scope="col" class="number">n</th>' in made
    assert '<td data-label="name"><span class="good">holds</span></td>' in made
    assert '<td class="number" data-label="n"><span>1 [x]</span></td>' in made and "one<br>two" in made


def test_figures_are_text_in_the_colours_of_the_page() -> None:
    with new_figure(2.0) as figure:
        axes = figure.subplots()
        axes.set_title("<i> \U0001f680 \u4e2d & $x$", parse_math=False)
        axes.plot([0, 1], [0, 1], color="#0072B2")
        made = inline_svg(figure, key="one", says="a line")
    assert "&lt;i&gt; \U0001f680 \u4e2d &amp; $x$" in made and "<title>a line</title>" in made
    assert "var(--series-0)" in made and not re.search(r"#[0-9a-f]{6}", made)
    assert all(name.startswith("one-") for name in Reader(made).ids)
    with new_figure(2.0) as figure, pytest.raises(KeyError, match="#123456"):
        figure.subplots().plot([0, 1], [0, 1], color="#123456")
        inline_svg(figure, key="one", says="a line")


def test_the_same_facts_give_the_same_page(page: str, everything: Overview) -> None:
    assert html_page(everything) == page


def test_the_terminal_says_what_the_page_says(page: str, everything: Overview) -> None:
    console = Console(width=2000, file=StringIO(), no_color=True)
    for part in terminal_view(everything):
        console.print(part)
    printed, shown = console.file.getvalue(), "".join(Reader(page).texts)  # type: ignore[attr-defined]
    sentences = [sentence for section in everything.sections for sentence in (section.title, *section.says)]
    assert len(sentences) > 15
    for sentence in sentences:
        assert " ".join(clean(sentence).split()) in " ".join(shown.split())
        assert " ".join(sentence.replace("\x07", "").split()) in " ".join(printed.split())


def colours(scheme: str) -> dict[str, str]:
    """The variables of page.css in a scheme, by name."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    found = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else {})


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (Web Content Accessibility Guidelines 2.2, 1.4.3)."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme: str) -> None:
    """At least 4.5 for text and 3 for what is drawn."""
    known = colours(scheme)
    for paper in ("--paper", "--page"):
        for text in ("--ink", "--soft", "--link", "--good", "--bad", "--odd"):
            assert contrast(known[text], known[paper]) >= 4.5, (text, paper)
    for drawn in [name for name in known if name.startswith("--series")]:
        assert contrast(known[drawn], known["--paper"]) >= 3, drawn
    assert contrast("#777777", "#ffffff") < 4.5 < contrast("#767676", "#ffffff")


def test_every_colour_has_a_variable_in_both_schemes() -> None:
    used = set(re.findall(r"var\((--[\w-]+)\)", STYLE.read_text(encoding="utf-8"))) | set(VARIABLES.values())
    light, dark = colours("light"), colours("dark")
    assert used <= light.keys() == dark.keys()
    assert all(light[name] != dark[name] for name in light)
