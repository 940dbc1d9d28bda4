"""Single files that are damaged by one byte: each opens, or is refused by a BundleError; it runs, or fails in words."""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnxruntime
import pytest

from rr_runtime import BundleError, RuntimeFailure, Session
from tests.runtime import handmade

FLIPS = (0x01, 0x20, 0x80, 0xFF)  # a bit of a number, of a letter's case, of what is no ASCII, and all bits


def outcomes(folder: Path, damage: Iterable[tuple[int, int]]) -> Counter[str]:
    """Returns how often a file with one changed byte was refused, failed in a run, and ran."""
    file = handmade.write_file(folder / "model.onnx")
    sound, inputs, seen = file.read_bytes(), handmade.example(), Counter[str]()
    for place, flip in damage:
        file.write_bytes(sound[:place] + bytes([sound[place] ^ flip]) + sound[place + 1 :])
        try:
            Session(file, threads=1).run(inputs, seed=3)
            seen["ran"] += 1
        except BundleError:
            seen["refused"] += 1
        except (RuntimeFailure, ValueError, TypeError):  # in a run, or another name of an input
            seen["failed"] += 1
    return seen


@pytest.fixture(autouse=True)
def quiet() -> Iterable[None]:
    onnxruntime.set_default_logger_severity(4)
    yield
    onnxruntime.set_default_logger_severity(2)


def size_of_file() -> int:
    return len(handmade.model().SerializeToString())


def test_bug_a_damaged_byte_is_a_bundle_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    some = random.Random(0)
    seen = outcomes(tmp_path, [(some.randrange(size_of_file()), flip) for flip in FLIPS for _ in range(50)])
    assert seen.total() == 200 and seen["refused"] > 100 and seen["ran"] > 0
    if '"enable_fallback"' in inspect.getsource(onnxruntime.InferenceSession.__init__):  # older versions always tell
        assert capfd.readouterr().out == ""  # nor does onnxruntime print what it tries instead


@pytest.mark.parametrize("text", [b"rr.manifest", b"float", b"batch", b"offset", b'"kind"'])
def test_bug_a_byte_that_is_no_text(text: bytes, tmp_path: Path) -> None:
    file = handmade.write_file(tmp_path / "model.onnx")
    sound = file.read_bytes()
    places = [at for at in range(len(sound)) if sound.startswith(text, at)]
    assert places
    seen = outcomes(tmp_path, [(place, 0x80) for place in (places[0], places[-1])])
    assert seen["ran"] + seen["refused"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("flip", FLIPS)
def test_every_byte_damaged(flip: int, tmp_path: Path) -> None:
    content = handmade.model().SerializeToString()
    name = b"num_outputs\x18"  # a number of outputs that a node does not have ends the process: onnxruntime 1.32
    fatal = {at + len(name) for at in range(len(content)) if content.startswith(name, at)}
    places = [place for place in range(len(content)) if place not in fatal]
    assert outcomes(tmp_path, [(place, flip) for place in places]).total() == len(places) >= len(content) - 2
