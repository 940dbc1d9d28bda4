"""Manifests that are larger than any exporter writes are refused before they are read."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rr_runtime import BundleError, Session
from rr_runtime.manifest import MOST_BYTES, MOST_SITES, Manifest
from tests.runtime import handmade

SITE = '{"name": "s", "kind": "layer", "branches": ["a"], "calls": [[]], "policy": {"type": "categorical", '
SITE += '"probabilities": [[1.0]], "thresholds": [[]]}}'
MILLION = 1_000_000


@contextmanager
def at_once() -> Iterator[None]:
    """The block takes less than a second of the processor, and less than 64 MiB of Python's memory."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        yield
        assert time.process_time() - begin < 1
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def million_sites() -> str:
    return '{"format": "rr.manifest", "version": 1, "sites": [' + ", ".join([SITE] * MILLION) + "]}"


def test_bug_a_folder_with_a_million_sites_is_refused_at_once(tmp_path: Path) -> None:
    folder = handmade.write_bundle(tmp_path / "bundle")
    (folder / "manifest.json").write_text(million_sites())
    with (
        at_once(),
        pytest.raises(BundleError, match=rf"manifest\.json: expected a manifest of at most {MOST_BYTES} byt"),
    ):
        Session(folder)


def test_bug_a_file_with_a_million_sites_is_refused_at_once(tmp_path: Path) -> None:
    file = handmade.write_file(tmp_path / "model.onnx", metadata=million_sites())
    with (
        at_once(),
        pytest.raises(BundleError, match=rf"model\.onnx: expected a manifest of at most {MOST_BYTES} bytes"),
    ):
        Session(file)


def test_a_short_text_with_a_million_sites_is_refused() -> None:
    text = '{"format": "rr.manifest", "version": 1, "sites": [' + "1," * MILLION + "1]}"
    with pytest.raises(
        BundleError, match=rf"sites: expected a list of at most {MOST_SITES} elements instead of 1000001"
    ):
        Manifest.parse(text)


def test_as_many_sites_as_are_allowed_are_read() -> None:
    content = handmade.manifest()
    sites = [{**content["sites"][0], "name": str(number)} for number in range(MOST_SITES)]
    assert len(Manifest.parse({**content, "sites": sites}).sites) == MOST_SITES
    with pytest.raises(BundleError, match="expected a list of at most"):
        Manifest.parse({**content, "sites": [*sites, {**sites[0], "name": "one too many"}]})


def test_calls_by_the_ten_thousand_are_compared_at_once() -> None:
    """Each call is looked up among those of the sites around it, and not compared with each of them."""
    count = 10_000
    content = handmade.manifest()
    first = {**content["sites"][0], "branches": [str(number) for number in range(count)]}
    first["policy"] = {"type": "categorical", "probabilities": [[1.0] + [0.0] * (count - 1)]}
    first["policy"]["thresholds"] = [[1.0] * (count - 1)]
    second = {**content["sites"][0], "name": "second", "calls": [[[0, number]] for number in range(count)]}
    third = {**second, "name": "third", "calls": [[[0, number], [1, 0]] for number in range(count)]}
    begin = time.process_time()
    assert len(Manifest.parse({**content, "sites": [first, second, third], "golden": []}).sites) == 3
    assert time.process_time() - begin < 3
    third["calls"] = [*third["calls"], [[1, 0]]]
    with pytest.raises(BundleError, match="expected all branches around each enclosing one"):
        Manifest.parse({**content, "sites": [first, second, third], "golden": []})
    third["calls"] = [[[1, 0], [0, number]] for number in range(count)]
    begin = time.process_time()
    with pytest.raises(BundleError, match="expected calls that 1048576 comparisons tell to fit"):
        Manifest.parse({**content, "sites": [first, second, third], "golden": []})
    assert time.process_time() - begin < 5
    few = [{**site, "branches": site["branches"][:9], "calls": site["calls"][:9]} for site in (first, second, third)]
    few[0]["policy"] = {"type": "categorical", "probabilities": [[1.0] + [0.0] * 8], "thresholds": [[1.0] * 8]}
    for site in few[1:]:
        site |= {"branches": ["a"], "policy": {"type": "categorical", "probabilities": [[1.0]], "thresholds": [[]]}}
    assert len(Manifest.parse({**content, "sites": few, "golden": []}).sites) == 3
