"""Saves that are killed, and saves that run at once: a whole bundle is there at any time, and nothing beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rr_export as rr
from rr_export.bundle.atomic_write import alone_in, exchange
from rr_export.errors import BundleError
from rr_runtime import Session
from tests import nets

HERE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundles() -> tuple[rr.Bundle, rr.Bundle]:
    first, second = (rr.export(nets.layers(count), (nets.example(),)) for count in (1, 2))
    return first, second


def interrupted(bundles: tuple[rr.Bundle, rr.Bundle], folder: Path, what: str) -> dict[str, Any]:
    for name, bundle in zip(("first", "second"), bundles, strict=True):
        bundle.save(folder / name)
    path = os.pathsep.join([str(HERE), str(HERE / "runtimes" / "python")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.bundle.killed", str(folder), what],
        cwd=HERE, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("what", ["each", "swap", "random", "file"])
def test_bug_a_killed_save_leaves_the_old_bundle_or_the_new_one(
    what: str, bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path
) -> None:
    seen = interrupted(bundles, tmp_path, what)
    assert seen["stayed"] == []  # the next save cleared away what each killed one had left
    if what != "random":
        assert seen["ended"] == 0 and seen["left"] > 0
        assert seen["found"] == sorted(seen["found"])  # first, first, ..., second: there is one moment of change
        assert {"first", "second"} == set(seen["found"])


def test_bug_saves_at_once_are_each_whole_or_refused(bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path) -> None:
    seen = interrupted(bundles, tmp_path, "together")
    assert seen["over"] == [0, 0]
    assert seen["new"] == seen["files"] == [[0, 1]] * 5  # the second one found a bundle there: a BundleError
    assert seen["hidden"] == []


def test_what_a_system_cannot_exchange_is_moved_back_when_it_is_opened(
    bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path
) -> None:
    bundles[0].save(tmp_path / "out").rename(tmp_path / ".out.rr-old")
    assert len(Session(tmp_path / "out").sites) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    with pytest.raises(BundleError, match="expected a bundle folder or a model file, got nothing there"):
        rr.load(tmp_path / "another")


def test_two_folders_change_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "file").write_text("1")
    other.mkdir()
    if not exchange(one, other):
        pytest.skip("this file system cannot")
    assert (other / "file").read_text() == "1" and not (one / "file").exists()


def test_who_waits_too_long_for_another_saver_is_told(
    bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rr_export.bundle.atomic_write.PATIENCE", 0.1)
    with alone_in(tmp_path), pytest.raises(BundleError, match="expected to be the only one that saves there, got"):
        bundles[0].save(tmp_path / "out")
    assert bundles[0].save(tmp_path / "out").is_dir()


def test_bug_another_manifest_over_the_same_files_is_other_content(
    bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path
) -> None:
    made = rr.package(bundles[1], "cpu", frozen=2)
    made.save(tmp_path / "out")
    made.targets["cpu"].about["paths"][0]["keep"] = 0.25  # type: ignore[index]
    with pytest.raises(BundleError, match="expected no such folder, got one with other content"):
        made.save(tmp_path / "out")
    made.save(tmp_path / "out", overwrite=True)
    assert rr.load(tmp_path / "out").targets["cpu"].about["paths"][0]["keep"] == 0.25


def test_a_link_is_followed(bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path) -> None:
    bundles[0].save(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    bundles[1].save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink() and len(rr.load(tmp_path / "real").plan.sites) == 2


def test_what_a_killed_writer_left_inside_is_no_file_of_others(
    bundles: tuple[rr.Bundle, rr.Bundle], tmp_path: Path
) -> None:
    bundles[0].save(tmp_path / "out")
    (tmp_path / "out" / ".parity.json.abcdefgh.rr-new").write_text("{")
    bundles[1].save(tmp_path / "out", overwrite=True)
    assert len(rr.load(tmp_path / "out").plan.sites) == 2
