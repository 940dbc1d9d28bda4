"""Which names of files a bundle may have."""

from __future__ import annotations

from pathlib import PureWindowsPath

import pytest

from rr_runtime.portable_names import colliding, is_portable
from tests.conformance.hostile import NO_NAME, OUTSIDE

SOUND = (
    "model.onnx",
    "model.onnx.data",
    "targets/cpu/model.onnx",
    ".hidden",
    "a b",
    "console",
    "com",
    "com10",
    "\u00e9",
    "a..b",
)


@pytest.mark.parametrize("name", SOUND)
def test_sound_names(name: str) -> None:
    assert is_portable(name)


@pytest.mark.parametrize("name", (*OUTSIDE, *NO_NAME, "a|b", "a*", "LPT\u00b9", "aux .x", "a/nul", "\x1f"))
def test_names_that_are_none_everywhere(name: str) -> None:
    assert not is_portable(name)


@pytest.mark.parametrize("name", ("CON", "nul.txt", "com1", "LPT9.x", "prn", "aux"))
def test_devices_are_those_of_python(name: str) -> None:
    assert PureWindowsPath(name).is_reserved() and not is_portable(name)


def test_names_of_one_file() -> None:
    assert colliding(("a", "b", "a.b", "c/a", "c/b")) is None
    assert colliding(("a", "B", "b")) == ("B", "b")
    assert colliding(("\u00e9", "\u00c9", "e\u0301")) is None  # languages do not agree on these
    assert colliding(("a", "c", "C/b")) == ("c", "C/b")
    assert colliding(("a/b/c", "A/B")) == ("A/B", "a/b/c")
