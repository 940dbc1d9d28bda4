"""Every link of the documentation leads somewhere, and every page is in the navigation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import rr_export
import rr_runtime
from website.links import ROOT, SOURCES, anchors, dead_links, links, pages_named, rewrite_links

PAGES = sorted([*SOURCES, *(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))])


class Plain(yaml.SafeLoader):
    """Reads mkdocs.yml without making the Python objects that it names."""


Plain.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def navigation() -> list[str]:
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Plain)
    return list(pages_named(config["nav"]))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert dead_links(page, (ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](no_such.md)", "docs/a.md: expected a file at 'no_such.md', found none"),
        ("[a](b.md#no-such)", "docs/a.md: expected a heading at 'b.md#no-such', found none"),
        ("# One\n\n[a](#two)", "docs/a.md: expected a heading at '#two', found none"),
        ("![a](no_such.svg)", "docs/a.md: expected a file at 'no_such.svg', found none"),
    ],
)
def test_dead_links_are_found(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.md").write_text("# Some heading\n")
    (tmp_path / "docs" / "a.md").write_text(text)
    (found,) = dead_links("docs/a.md", text, tmp_path)
    assert found.startswith(expected)


def test_links_in_code_are_none() -> None:
    text = "`a[0](x)`\n\n```python\nf[0](y)\n```\n\n[a](b.md) and [`c`](d.md#e)\n"
    assert list(links(text)) == ["b.md", "d.md#e"]


def test_headings_have_the_names_that_github_gives_them() -> None:
    text = "# The `Session.run` of it\n\n## doctor, place, bench: what?\n\n## Twice\n\n## Twice\n\n```\n# none\n```\n"
    assert anchors(text) == {"the-sessionrun-of-it", "doctor-place-bench-what", "twice", "twice-1"}


def test_links_lead_on_the_site_where_they_lead_in_the_repository() -> None:
    def rewritten(text: str, repository: str | None = None) -> str:
        return rewrite_links(text, source="docs/errors/plan.md", page="errors/plan.md", repository=repository)

    assert rewritten("[a](../ci.md#b)") == "[a](../ci.md#b)"
    assert rewritten("[a](../../README.md)") == "[a](../index.md)"
    assert rewritten("[a](../../runtimes/SPEC.md#b)") == "[a](../spec.md#b)"
    assert rewritten("[a](../../Makefile), `[b](../../Makefile)`") == "a, `[b](../../Makefile)`"
    assert rewritten("[a](../../Makefile)", "https://host/x/") == "[a](https://host/x/blob/main/Makefile)"
    assert rewrite_links("[a](docs/ci.md)", source="README.md", page="index.md", repository=None) == "[a](ci.md)"


def test_every_page_is_in_the_navigation() -> None:
    made = {"commands.md"}
    written = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    named = navigation()
    assert sorted(named) == sorted(written | set(SOURCES.values()) | made)


@pytest.mark.parametrize("package", [rr_export, rr_runtime], ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    page = (ROOT / "docs" / "api" / f"{name}.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: ([\w.]+)\.(\w+)$", page, re.MULTILINE)
    public = set(package.__all__) - {"__version__"}  # type: ignore[attr-defined]
    assert sorted(shown) == sorted((package._HOMES[one], one) for one in public)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES)
def test_lists_stand_after_an_empty_line(page: str) -> None:
    """GitHub shows them as lists all the same; the site does not."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(?![-*#>| ]|\d+\. )\S.*\n(?:[-*] |\d+\. ).*", text, re.MULTILINE) == []
