"""Files beside a bundle: told apart by what is in them, and refused where they are damaged or of another bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rr_export as rr
from rr_export.errors import SweepError
from rr_export.overview.gathered import overview_of
from rr_export.overview.given_files import SEVERAL, read_given
from tests.overview.known import bare, files_of

Change = Callable[[dict[str, Any]], Any]


def test_every_file_is_known_by_what_is_in_it(rich: Path) -> None:
    given = read_given([*files_of(rich), rich.parent / "values.jsonl"])
    assert {kind: len(given.of(kind)) for kind in SEVERAL} == {
        **{"bench": 1, "rr.front": 1, "rr.sweep": 1, "rr.attribution": 1, "rr.parity": 2, "doctor": 1, "check": 1}
    }
    front = given.one("rr.front")
    assert front is not None and front.file.name == "front.json"
    assert read_given([]).one("bench") is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff\x00", b'{"format": "rr.manifest"}', b'{"tool": ["bench"]}']
)
def test_what_is_no_such_file_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"odd.json: expected figures of one of the kinds bench, .*, got "):
        read_given([file])


def test_what_is_not_there_or_is_there_twice_is_refused(rich: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.json: expected a file of figures, got No such file"):
        read_given([tmp_path / "none.json"])
    front = rich.parent / "front.json"
    with pytest.raises(ValueError, match=r"front.json: expected one file of the kind 'rr.front', got .*front.json"):
        read_given([front, front])


@pytest.mark.parametrize("name", ["bench.json", "front.json", "attribution.json", "values.jsonl"])
def test_files_of_another_bundle_are_refused(name: str, rich: Path) -> None:
    with pytest.raises(ValueError, match=r"expected (figures of the branches|paths of this|an attribution of this)"):
        overview_of(bare(), [rich.parent / name], name="out")


def without(*keys: str) -> Change:
    def change(told: dict[str, Any]) -> None:
        for key in keys[:-1]:
            told = told[key][0] if isinstance(told[key], list) else told[key]
        del told[keys[-1]]

    return change


DAMAGED: list[tuple[str, Change, str]] = [
    ("bench", without("subjects", "law", "samples_ms"), "expected the figures that rr-export bench --json writes"),
    ("bench", without("machine"), "expected the figures that rr-export bench --json writes"),
    ("bench", without("subjects", "model"), "expected the figures that rr-export bench --json writes"),
    ("front", without("paths", "cost"), "expected what is kept as rr.front 1, got KeyError"),
    ("front", lambda told: told.update(paths=[]), "expected what is kept as rr.front 1, got ValueError: no path"),
    ("front", lambda told: told.update(version=2), "expected what is kept as rr.front 1"),
    ("front", lambda told: told.update(path_count=13), "expected a search of 12 paths, got one of 13"),
    ("front", lambda told: told["paths"][0].update(path=[1, 1, 0, 1]), "expected paths of this bundle, got"),
    ("attribution", without("sites", "value"), "expected what is kept as rr.attribution 1, got TypeError"),
    ("attribution", lambda told: told.update(path=[1, 1]), "expected an attribution of this bundle's 4 sites"),
    ("attribution", lambda told: told["sites"][0].update(branch="no"), "expected an attribution of this bundle's"),
    ("same", without("checks", "passed"), "expected a report of rr-export verify, got KeyError"),
    ("same", lambda told: told["checks"][0].update(passed="yes"), "expected a report of rr-export verify, got TypeEr"),
    ("doctor", without("machine", "cores"), "expected what rr-export doctor BUNDLE --json prints of a bundle"),
    ("doctor", lambda told: told["providers"][0].update(bundle=None), "expected what rr-export doctor BUNDLE --json"),
    ("check", without("places", "forms"), "expected what rr-runtime check BUNDLE --json prints of a bundle"),
]


@pytest.mark.parametrize(("name", "change", "text"), DAMAGED)
def test_damaged_files_are_refused(name: str, change: Change, text: str, rich: Path, tmp_path: Path) -> None:
    told = json.loads((rich.parent / f"{name}.json").read_text(encoding="utf-8"))
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    overview_of(rr.load(rich), [file], name="out")  # as it is, it is taken
    change(told)
    file.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match=text):
        overview_of(rr.load(rich), [file], name="out")


def test_kept_values_are_those_of_the_model_file(rich: Path, tmp_path: Path) -> None:
    lines = (rich.parent / "values.jsonl").read_text(encoding="utf-8").splitlines()
    head = json.loads(lines[0])

    def refused(of: str, rows: list[str] = lines[1:]) -> str:
        file = tmp_path / "values.jsonl"
        file.write_text("\n".join([json.dumps({**head, "of": of}), *rows, ""]), encoding="utf-8")
        with pytest.raises((ValueError, SweepError)) as error:
            overview_of(rr.load(rich), [file], name="out")
        return str(error.value)

    digest = head["of"].partition(", ")[2].partition(";")[0]
    assert "expected values of model.onnx as it is" in refused(head["of"].replace(digest, "0" * len(digest)))
    assert "expected values of paths, got results of 'a grid'" in refused("a grid")
    assert "expected the values of batches, got KeyError" in refused(head["of"], ['{"key": "0,0,1,0", "result": {}}'])
    assert "expected results of a sweep, got another file" in refused(head["of"], ['{"no": 1}'])


def test_values_of_an_eager_model_say_that_they_cannot_be_told(rich: Path, tmp_path: Path) -> None:
    lines = (rich.parent / "values.jsonl").read_text(encoding="utf-8").splitlines()
    head = json.loads(lines[0])
    head["of"] = head["of"].replace(head["of"].partition(": ")[2].partition(";")[0], "0123abcd")
    file = tmp_path / "values.jsonl"
    file.write_text("\n".join([json.dumps(head), *lines[1:], '{"key": "cut o']), encoding="utf-8")
    found = overview_of(rr.load(rich), [file], name="out").sections[2]
    assert "cannot be told" in " ".join(found.says) and len(found.drawn[0].paths) == 12
