"""Whether a bundle can be written somewhere is told before it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from rr_export.bundle.places import check_place, check_room
from rr_export.errors import BundleError


def test_free_places_are_taken_and_stay_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("out", "far/away/out", "model.onnx", "empty"):
        check_place(tmp_path / name, overwrite=False)
        check_room(tmp_path / name, 1000)
    assert [p.name for p in tmp_path.iterdir()] == ["empty"] and not list((tmp_path / "empty").iterdir())


def test_places_that_are_taken_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "model.onnx").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    for name, overwrite, message in (
        ("notes", False, "got one with other content"),
        ("notes", True, "got 'mine.txt', which no bundle holds"),
        ("model.onnx", False, "expected no such file, got one"),
        ("folder.onnx", True, "expected a place for one file, got a folder"),
        ("model.onnx/out", False, "which is no folder, on the way there"),
    ):
        with pytest.raises(BundleError, match=message):
            check_place(tmp_path / name, overwrite=overwrite)
    check_place(tmp_path / "model.onnx", overwrite=True)


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"expected room for 1,000,000,000,000 MB of weights, got [\d,]+ MB; make room"
    ):
        check_room(tmp_path / "out", 10**18)
