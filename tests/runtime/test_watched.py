"""A file that changes between its check and its opening is noticed, whoever changes it and whatever is there after."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rr_runtime import BundleError, Session
from rr_runtime.engines.engine import Opening
from rr_runtime.watched import Watched
from tests.runtime import handmade

CHANGED = "expected the file that was checked, got one that was changed while it was opened"


def write(file: Path) -> None:
    """The file is written to, with what it has."""
    file.write_bytes(file.read_bytes())


def replace(file: Path) -> None:
    """A copy takes the place of the file, with its times."""
    shutil.copy2(file, file.with_suffix(".other"))
    file.with_suffix(".other").replace(file)


def swap_and_back(file: Path) -> None:
    """Another file is there for a moment."""
    file.rename(file.with_suffix(".kept"))
    file.write_bytes(b"another")
    file.with_suffix(".kept").replace(file)


def remove(file: Path) -> None:
    """The file is gone."""
    file.unlink()


@pytest.mark.parametrize("change", (write, replace, swap_and_back, remove))
@pytest.mark.parametrize("alone", (False, True))
def test_a_file_that_changes_while_it_is_opened(
    change: Callable[[Path], None], alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = handmade.write_bundle(tmp_path / "bundle")
    file = folder / "model.onnx"
    if alone:
        (folder / "manifest.json").unlink()
    opened = Opening.open

    def late(self: Opening, model: Path, **asked: Any) -> Any:
        os.sync()
        session = opened(self, model, **asked)
        change(file)
        return session

    Session(file if alone else folder)
    monkeypatch.setattr(Opening, "open", late)
    with pytest.raises(BundleError, match=CHANGED):
        Session(file if alone else folder)


def test_what_is_opened_later_may_have_moved_and_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    watched = Watched()
    watched.digest(file, "sha256")
    os.link(file, tmp_path / "backup")
    replace(file)
    with pytest.raises(BundleError, match=CHANGED):
        watched.check()
    watched.renew()
    watched.check()
    file.write_bytes(b"another")
    with pytest.raises(BundleError, match="expected the file that was checked when the bundle was opened, got another"):
        watched.renew()
    file.unlink()
    with pytest.raises(BundleError, match="expected a readable file"):
        watched.renew()
