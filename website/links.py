"""Links between the pages of the documentation: which are dead, and where each leads on the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Pages of the site whose text stands outside of docs/: file of the repository -> page.
SOURCES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "runtimes/SPEC.md": "spec.md",
    "runtimes/python/README.md": "runtime.md",
}
_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})[^\n]*\n.*?^\s*\2`*\s*$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)? *$", re.MULTILINE)


def links(text: str) -> Iterator[str]:
    """Yields what every link of a page leads to, as written; code holds none."""
    for match in _LINK.finditer(_without_code(text)):
        yield match[3]


def anchors(text: str) -> set[str]:
    """Returns the names of a page's headings, as GitHub and the site give them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        slug = _slug(heading)
        count = 1
        while (name := slug if count == 1 else f"{slug}-{count - 1}") in found:
            count += 1
        found.add(name)
    return found


def dead_links(source: str, text: str, root: Path = ROOT) -> list[str]:
    """Returns a line for every link of a file that leads to no file, or to no heading of it.

    Args:
        source: the file, from the root on.
        text: what it holds.
        root: of the repository.
    """
    dead = []
    for link in links(text):
        if _is_elsewhere(link):
            continue
        path, _, anchor = link.partition("#")
        target = root / posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else root / source
        if not target.exists():
            dead.append(f"{source}: expected a file at {link!r}, found none; mend the link")
        elif anchor and anchor not in anchors(text if not path else target.read_text(encoding="utf-8")):
            dead.append(f"{source}: expected a heading at {link!r}, found none; mend the link")
    return dead


def rewrite_links(text: str, *, source: str, page: str, repository: str | None) -> str:
    """Returns a page's text with links that lead on the site where they lead in the repository.

    Args:
        text: Markdown.
        source: the file where it stands, from the root of the repository on.
        page: the page that it becomes, from the root of the site on.
        repository: the address of the repository, for files that are no pages; without it they are named, not linked.
    """
    kept = [(m.start(), m.end()) for pattern in (_FENCE, _SPAN) for m in pattern.finditer(text)]

    def rewritten(match: re.Match[str]) -> str:
        mark, label, link = match.groups()
        if _is_elsewhere(link) or link.startswith("#") or any(a <= match.start() < b for a, b in kept):
            return match[0]
        path, _, anchor = link.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        target = SOURCES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if target is None:
            return f"[{label}]({repository.rstrip('/')}/blob/main/{file})" if repository else label
        relative = posixpath.relpath(target, posixpath.dirname(page) or ".")
        return f"{mark}[{label}]({relative}{'#' + anchor if anchor else ''})"

    return _LINK.sub(rewritten, text)


def pages_named(nav: object) -> Iterator[str]:
    """Yields the pages that the navigation of mkdocs.yml names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for part in nav.values():
            yield from pages_named(part)
    elif isinstance(nav, list):
        for part in nav:
            yield from pages_named(part)


def _is_elsewhere(link: str) -> bool:
    return re.match(r"[a-z]+:", link) is not None


def _without_code(text: str) -> str:
    return _SPAN.sub("", _FENCE.sub("", text))


def _slug(heading: str) -> str:
    plain = _LINK.sub(lambda m: m[2], heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
