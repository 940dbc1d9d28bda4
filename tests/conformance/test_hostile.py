"""Hostile bundles are refused, by the class of error that the contract names, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from rr_runtime import Session
from tests.conformance.agent import CLASSES
from tests.conformance.hostile import HOSTILE, Hostile, by_name


@pytest.mark.parametrize("hostile", HOSTILE, ids=list(by_name()))
def test_python_refuses(hostile: Hostile, tmp_path: Path) -> None:
    place = hostile.at(tmp_path / "bundle")
    with pytest.raises(CLASSES[hostile.error]) as raised:
        session = Session(place)
        assert hostile.checked
        session.check()
    assert type(raised.value) is CLASSES[hostile.error], raised.value
    assert ": expected " in str(raised.value) and len(str(raised.value)) < 2000


@pytest.mark.parametrize("case", sorted({hostile.case for hostile in HOSTILE}))
def test_the_sound_one_opens(case: str, tmp_path: Path) -> None:
    hostile = Hostile("nothing", lambda folder: folder, case=case)
    Session(hostile.at(tmp_path / "bundle")).check()
