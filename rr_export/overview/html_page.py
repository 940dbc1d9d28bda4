"""All that is known of a bundle as one page of HTML, which opens offline and runs no code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from rr_export.overview.gathered import Overview
from rr_export.overview.html_table import html_table
from rr_export.overview.markup import Markup, element, written
from rr_export.overview.pictures import PICTURES
from rr_export.overview.section import Absent, Section
from rr_export.overview.site_map import MapBranch, MapSite, SiteMap
from rr_export.report.short_numbers import short_number

STYLE = Path(__file__).with_name("page.css")
MADE_BY = "rr-export report"
# Nothing is fetched, and no script runs: also where a name should get around the escaping.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LONG = 26  # letters of a word of a command, beyond which it may be broken
OPEN_SITES = 60  # of a map; the others are folded away


def html_page(overview: Overview) -> str:
    """Returns the page: text, tables and pictures of every section, in light and dark."""
    title = f"{Path(overview.name).name or overview.name}: what is known of it"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=MADE_BY),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    parts = [_section(section) for section in overview.sections]
    foot = f"Made by {MADE_BY} {version('rr-export')}. The bundle was made by {overview.made}."
    body = element(
        "body", _header(overview), _links(overview.sections), element("main", *parts), element("footer", foot)
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _header(overview: Overview) -> Markup:
    found = overview.inspection
    tiles = (
        (f"{len(found.plan.sites):,}", "sites" if len(found.plan.sites) != 1 else "site"),
        (_count(found.plan.path_count()), "paths" if found.plan.path_count() != 1 else "path"),
        (_count(found.parameters), f"parameters, {_share(found.parameters_used, found.parameters)} used by a run"),
        (_count(found.flops), f"FLOPs, {_share(found.flops_used, found.flops)} of them done by a run"),
    )
    mark = {None: "odd", True: "good", False: "bad"}[overview.passed]
    verdict = element("p", element("span", overview.verdict, class_=f"pill {mark}"), class_="verdict")
    shown = [element("div", element("b", number), element("span", words)) for number, words in tiles]
    return element("header", element("h1", overview.name), verdict, element("div", *shown, class_="tiles"))


def _links(sections: Sequence[Section]) -> Markup:
    return element("nav", *(element("a", section.title, href=f"#{section.key}") for section in sections))


def _section(section: Section) -> Markup:
    pictures = [part for number, thing in enumerate(section.drawn) for part in _drawn(thing, f"{section.key}-{number}")]
    tables = (
        [] if section.replaced else [element("div", html_table(table), class_="figures") for table in section.tables]
    )
    shown = element("div", *pictures, *tables, class_="shown") if pictures or tables else None
    missing = _absent(section.absent) if section.absent is not None else None
    says = (element("p", sentence) for sentence in section.says)
    return element("section", element("h2", section.title), *says, shown, missing, id=section.key)


def _absent(absent: Absent) -> Markup:
    after = ["; name ", element("code", absent.file), " after the bundle then."] if absent.file else ["."]
    return element("p", f"{absent.what} To have it: ", _command(absent.command), *after, class_="absent")


def _command(text: str) -> Markup:
    """A command line, which is broken between its words alone: hyphens begin options."""
    words = [element("span", word, class_="word") if len(word) <= LONG else written(word) for word in text.split()]
    return element("code", *[part for word in words for part in (" ", word)][1:])


def _drawn(thing: object, key: str) -> Iterator[Markup]:
    if isinstance(thing, SiteMap):
        yield _map(thing)
        return
    svg = PICTURES[type(thing)](thing, key)
    if svg is not None:
        yield element("figure", svg)


def _map(found: SiteMap) -> Markup:
    """The sites one after the other as runs come by them, between inputs and outputs."""
    shown, folded = found.sites[:OPEN_SITES], found.sites[OPEN_SITES:]
    more = []
    if folded:
        sites = element("div", *(_site(site, found.unit) for site in folded), class_="sites")
        more = [element("details", element("summary", f"and {len(folded)} more sites"), sites)]
    return element(
        "div",
        element("p", element("b", "in"), " ", found.inputs, class_="end"),
        element("div", *(_site(site, found.unit) for site in shown), class_="sites"),
        *more,
        element("p", element("b", "out"), " ", found.outputs, class_="end"),
        class_="map",
    )


def _site(site: MapSite, unit: str) -> Markup:
    reached = "reached by the input" if site.reached is None else f"reached with {site.reached:.3g}"
    about = [site.kind, f"drawn {site.drawn}" if site.drawn.startswith("by") else site.drawn]
    about += [] if site.reached == 1 else [reached]
    if not site.branches:
        about = ["as above: it is called here too"]
    head = element("p", element("code", site.name), element("span", f"site {site.index}"), class_="name")
    words = element("p", ", ".join(about), class_="about")
    branches = [_branch(branch, unit) for branch in site.branches]
    return element("div", head, words, *branches, class_="site")


def _branch(branch: MapBranch, unit: str) -> Markup:
    chance = "by the input" if branch.probability is None else f"{branch.probability:.3g}"
    width = 0.0 if branch.probability is None else 100 * branch.probability
    bar = element("span", element("i", style=f"width:{width:.4g}%"), class_="bar", aria_hidden="true")
    cost = (
        None
        if branch.cost is None
        else element("span", f"{short_number(branch.cost, signed=True)} {unit}", class_="cost")
    )
    line = element(
        "div", element("span", branch.name, class_="branch"), bar, element("span", chance, class_="chance"), cost,
        class_="line",
    )  # fmt: skip
    inside = [element("div", *(_site(site, unit) for site in branch.inside), class_="inside")] if branch.inside else []
    return written(line, *inside)


def _count(number: float) -> str:
    """A number of at most four digits with what they count."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if size <= number < 10**15:
            return f"{number / size:.3g}{letter}"
    return f"{number / 1e3:.3g}k" if 10**4 <= number < 10**6 else short_number(number)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "none"
