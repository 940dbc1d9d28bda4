"""The page in a real browser: at the width of a desk and of a phone, light and dark, with the network off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rr_export as rr
from rr_export.overview.gathered import overview_of
from rr_export.overview.html_page import html_page
from tests import nets
from tests.overview.browser import Browser, Seen, find_browser, open_browser
from tests.overview.known import bare, files_of

LEAST = 10.0  # pixels of the smallest text of a figure
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_browser() is None, reason="no Chromium here: apt-get install chromium, to see the page in it"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_browser()
    assert program is not None
    with open_browser(program) as running:
        yield running


@pytest.fixture(scope="module")
def pages(rich: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "everything": overview_of(rr.load(rich), files_of(rich), name=str(rich)),
        "nothing": overview_of(bare(), name="out"),
        "gates": overview_of(rr.export(nets.gated(), (nets.example(),), golden=0), name="out"),
    }
    for name, overview in made.items():
        (folder / f"{name}.html").write_text(html_page(overview), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


def faults(seen: Seen, address: str) -> list[str]:
    """What is wrong with a page that is open."""
    look = seen.look
    found = [f"asks for {asked}" for asked in seen.asked if asked not in (address, "data:,")]
    found += [f"says {said}" for said in seen.said]
    found += [f"scrolls to {look['scroll']} of {look['view']}"] if look["scroll"] > look["view"] else []
    found += [f"over the edge: {told}" for told in look["over"]] + [f"cut off: {told}" for told in look["cut"]]
    found += [f"a figure of {box}" for box in look["figures"] if min(box) < 20]
    found += [f"text outside of its figure: {told}" for told in look["outside"]]
    found += [f"text of {look['least']} pixels"] if look["least"] < LEAST else []
    return found


@pytest.mark.parametrize("name", ["everything", "nothing", "gates"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_right_in_a_browser(
    width: int, dark: bool, name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    address = pages[name].as_uri()
    seen = browser.see(address, width=width, dark=dark)
    assert faults(seen, address) == []
    assert len(seen.look["figures"]) >= (9 if name == "everything" else 3) and seen.look["view"] == width
    assert "The law of latency" in seen.look["text"]
    brightness = [sum(map(int, re.findall(r"\d+", seen.look[part])[:3])) / 3 for part in ("page", "ink")]
    assert (brightness[0] < 60 and brightness[1] > 200) if dark else (brightness[0] > 200 and brightness[1] < 60)


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ('<img src="https://example.org/x.png">', "asks for https://example.org/x.png"),
        ('<img src="https://example.org/x.png">', "says error"),
        ("<script>throw 1</script>", "says"),
        ('<div style="width: 500px">wide</div>', "scrolls to"),
        ('<div style="width: 100px; overflow: hidden"><p style="width: 300px">a</p></div>', "cut off"),
        ("<figure></figure>", "a figure of"),
        ('<svg viewBox="0 0 100 20"><text x="0" y="10" font-size="1">small</text></svg>', "text of"),
        ('<svg viewBox="0 0 100 20"><text x="99" y="10">far away</text></svg>', "text outside of its figure"),
    ],
)
def test_what_is_wrong_in_a_browser_is_found(
    part: str, fault: str, browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", pages["nothing"].read_text(encoding="utf-8"))
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("<main>", f"<main>{part}"), encoding="utf-8")
    seen = browser.see(broken.as_uri(), width=390, dark=False)
    assert [told for told in faults(seen, broken.as_uri()) if told.startswith(fault)]


def test_the_pages_own_policy_lets_nothing_in(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    part = "<script>document.title = 'ran'</script><p id='ran'>here</p>"
    text = pages["nothing"].read_text(encoding="utf-8").replace("<main>", f"<main>{part}")
    broken.write_text(text, encoding="utf-8")
    seen = browser.see(broken.as_uri(), width=390, dark=False)
    assert any("Content Security Policy" in told for told in seen.said)
