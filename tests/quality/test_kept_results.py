"""What a search and an attribution found is kept in files, and read again as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rr_export as rr
from tests.quality.toys import COST as PRICES
from tests.quality.toys import DATA, WORTH, toy_bundle, toy_costs, worth


@pytest.fixture(scope="module")
def front() -> rr.Front:
    return rr.search(toy_bundle(WORTH[:4]), DATA, worth, toy_costs(PRICES[:4]))


@pytest.mark.parametrize("baseline", [None, [0, 0, 0]])
@pytest.mark.parametrize("permutations", [None, 2])
def test_an_attribution_is_read_as_it_was(baseline: list[int] | None, permutations: int | None, tmp_path: Path) -> None:
    found = rr.attribute(toy_bundle(WORTH[:3]), DATA, worth, baseline=baseline, permutations=permutations)
    file = found.save(tmp_path / "attribution.json")
    assert rr.Attribution.load(file) == found == rr.Attribution.load(json.loads(file.read_text(encoding="utf-8")))
    assert (found.interactions is None) == (permutations is not None)


def test_a_front_is_read_as_it_was(front: rr.Front, tmp_path: Path) -> None:
    file = front.save(tmp_path / "front.json")
    assert rr.Front.load(str(file)) == front and rr.Front.load(front.to_json()) == front


def test_an_earlier_result_is_replaced_and_nothing_else(front: rr.Front, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    found = rr.attribute(toy_bundle(WORTH[:2]), DATA, worth)
    assert front.save(file) == found.save(file) == file and rr.Attribution.load(file) == found
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="save: expected a new file, or an earlier report of that form, got"):
        found.save(file)
    place = toy_bundle(WORTH[:2]).save(tmp_path / "out")
    with pytest.raises(ValueError, match="save: expected a place outside of bundles"):
        found.save(place / "found.json")


def test_what_is_no_result_is_refused(front: rr.Front, tmp_path: Path) -> None:
    file = front.save(tmp_path / "front.json")
    with pytest.raises(ValueError, match=r"front.json: expected what is kept as rr.attribution 1, got ValueError"):
        rr.Attribution.load(file)
    with pytest.raises(ValueError, match=r"none.json: expected what is kept as rr.front 1, got FileNotFoundError"):
        rr.Front.load(tmp_path / "none.json")
    for content in ("", "[]", '{"format": "rr.front"}', '{"format": "rr.front", "version": 1, "paths": [{}]}'):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"front.json: expected what is kept as rr.front 1, got"):
            rr.Front.load(file)
