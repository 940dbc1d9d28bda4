"""The site is built without a warning, and asks nothing of other machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rr_export.cli import COMMANDS
from website.links import ROOT

pytest.importorskip("mkdocstrings", reason="needs the extra docs")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    elsewhere = r"\"(?:https?:)?//"
    loaded = rf"<(?:script|img|iframe)[^>]*\ssrc={elsewhere}|<link[^>]*rel=\"(?!canonical)[^>]*href={elsewhere}"
    assert [page.name for page in pages if re.search(loaded, page.read_text(encoding="utf-8"))] == []


def test_the_reference_holds_signatures_and_no_roles(site: Path) -> None:
    text = (site / "api" / "rr_export.html").read_text(encoding="utf-8")
    assert 'id="rr_export.parity.verify.verify"' in text and "keep_training_routes" in text
    assert ":func:" not in text and ":class:" not in text


def test_the_page_of_commands_has_all_of_both(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'id="rr-export-{name}"' not in text] == []
    assert 'id="rr-runtime-check"' in text and "rr-runtime check device/" in text


def test_the_search_works_where_the_site_is_opened_as_files(site: Path) -> None:
    """There, browsers read no JSON and start no workers: the index is a script, a frame the worker."""
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = {") and "Markov" in index
    assert "window.Worker = class" in (site / "iframe-worker.js").read_text(encoding="utf-8")
    for page, shim in (("index.html", "iframe-worker.js"), ("errors/plan.html", "../iframe-worker.js")):
        assert f'src="{shim}"' in (site / page).read_text(encoding="utf-8")


def test_a_dead_link_stops_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text("# A\n\n[a](#no-such)\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text("site_name: x\nstrict: true\nvalidation: {anchors: warn}\n")
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    assert "no-such" in done.stderr
