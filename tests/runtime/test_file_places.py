"""Reports take the place of earlier reports only, and no file is put into a bundle."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from rr_runtime.cli import run_command
from rr_runtime.file_places import BEGINNING, check_file_place, check_report_file

EARLIER = re.compile(rb"\A<report>")


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("content", [b"", b"<report>1</report>"])
def test_an_earlier_report_may_be_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "report.xml"
    check_report_file(file, option="--junit", earlier=EARLIER)
    file.write_bytes(content)
    check_report_file(file, option="--junit", earlier=EARLIER)


@pytest.mark.parametrize("content", [b"hello", b" <report>", b"\0\1"])
def test_anything_else_stays(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "report.xml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"--junit: expected a new file, or an earlier report .* got .*report\.xml"):
        check_report_file(file, option="--junit", earlier=EARLIER)


def test_only_text_is_added_to(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    for text in ("# so far", "ä" * BEGINNING, "x" + "ä" * BEGINNING):  # one of them is cut in a letter
        file.write_text(text, encoding="utf-8")
        check_report_file(file, option="--markdown", earlier=None)
    for content in (b"\x08\x09\0", b"\xff\xfe", b"x" * 10 + b"\xff" + b"x" * BEGINNING):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="--markdown: expected a new file, or a text to add to"):
            check_report_file(file, option="--markdown", earlier=None)


def test_a_file_that_cannot_be_read_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "report.xml").touch()
    monkeypatch.setattr(Path, "open", denied)  # root reads everything
    with pytest.raises(ValueError, match="--junit: expected a file that can be read, got 'Permission denied' for"):
        check_report_file(tmp_path / "report.xml", option="--junit", earlier=EARLIER)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes of that kind")
def test_pipes_and_devices_are_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    check_report_file(tmp_path / "pipe", option="--junit", earlier=EARLIER)
    check_report_file(Path(os.devnull), option="--junit", earlier=EARLIER)


def test_nothing_is_put_into_a_bundle(bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = bundles["explicit"]
    links = tmp_path / "link", tmp_path / "link.xml"
    links[0].symlink_to(folder)
    links[1].symlink_to(folder / "new.xml")
    for file in (folder / "new.xml", folder / "model.onnx", links[0] / "new.xml", links[1]):
        with pytest.raises(ValueError, match="--junit: expected a place outside of bundles"):
            check_file_place(file, option="--junit")
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    check_file_place(tmp_path / "new.xml", option="--junit")
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    check_file_place(tmp_path / "new.xml", option="--junit")


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "golden.npz", "new.xml"])
def test_bug_a_report_replaced_files_of_the_bundle(
    bundles: dict[str, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundles["explicit"]
    before = content_of(folder)
    assert run_command(["check", str(folder), "--junit", str(folder / name)]) == 2
    output = ["run", str(folder), "--golden", "0", "--output", str(folder / "golden.npz"), "--overwrite"]
    assert run_command(output) == 2
    shown = capsys.readouterr()
    assert "--junit: expected a place outside of bundles" in shown.err and not shown.out
    assert "--output: expected a place outside of bundles" in shown.err
    assert content_of(folder) == before


def test_check_replaces_its_own_report(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["check", str(bundles["explicit"]), "--junit", str(tmp_path / "check.xml")]
    assert [run_command(arguments), run_command(arguments)] == [0, 0]
    (tmp_path / "check.xml").write_text("<testsuites>of another tool</testsuites>")
    assert run_command(arguments) == 2
    assert "expected a new file, or an earlier report" in capsys.readouterr().err
