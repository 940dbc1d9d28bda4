"""``rr-export report`` and ``inspect``, as they are called."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rr_export.cli import cli
from tests.overview.known import files_of


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_page_is_written_once_and_again_when_asked(rich: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = call("report", rich, *files_of(rich), "-o", page)
    assert done.exit_code == 0, done.output
    assert "report.html: 9 sections" in done.output and "rr-export verify" in " ".join(done.output.split())
    first = page.read_bytes()
    assert b"</html>" in first and [file.name for file in tmp_path.iterdir()] == ["report.html"]
    again = call("report", rich, "-o", page)
    assert again.exit_code == 2 and "expected no such file, got one; choose another name, or pass --overwrite" in (
        " ".join(again.output.split())
    )
    assert page.read_bytes() == first
    assert call("report", rich, *files_of(rich), "--output", page, "-f").exit_code == 0
    assert page.read_bytes() == first
    assert call("report", rich, "--output", page, "--overwrite").exit_code == 0
    assert page.read_bytes() != first


def test_a_page_is_no_file_of_a_bundle_and_ends_in_html(rich: Path, tmp_path: Path) -> None:
    for name, text in ((tmp_path / "page.txt", "ends in .html"), (rich / "page.html", "a place outside of bundles")):
        done = call("report", rich, "-o", name)
        assert done.exit_code != 0 and text in f"{done.output} {done.exception}"
        assert not name.exists()
    assert "Missing option" in call("report", rich).output


def test_matplotlib_that_is_missing_is_told_before_any_work(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = call("report", rich, "-o", tmp_path / "report.html")
    assert str(done.exception) == (
        "report: expected the package matplotlib, got none; run: pip install 'rr-export[plot]'"
    )
    assert not list(tmp_path.iterdir())
    assert call("inspect", rich).exit_code == 0  # which draws nothing


def test_inspect_shows_the_same_in_the_terminal(rich: Path) -> None:
    done = call("inspect", rich, *files_of(rich))
    assert done.exit_code == 0, done.output
    for title in ("The model", "The law of latency", "Quality against cost", "Importance of branches"):
        assert f"\n{title}\n" in done.output
    told = json.loads(call("inspect", rich, *files_of(rich), "--json").output)
    assert told["sections"]["cost"]["drawn"][0]["unit"] == "ms" and told["paths"] == 12
    assert json.loads(call("inspect", rich, "--json").output)["sections"]["cost"]["drawn"][0]["unit"] == "FLOPs"


def test_what_cannot_be_read_ends_both_alike(rich: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text("{}", encoding="utf-8")
    for command in (("inspect", rich, odd), ("report", rich, odd, "-o", tmp_path / "report.html")):
        assert "odd.json: expected figures of one of the kinds" in str(call(*command).exception)
    assert not (tmp_path / "report.html").exists()
