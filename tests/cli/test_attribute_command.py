"""``rr-export attribute``: what the function finds, printed and kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import rr_export as rr
from rr_export.cli import cli
from tests.quality.toys import WORTH, toy_bundle

SOURCE = """
import numpy as np

def data():
    return [({"x": np.full((2, 1), k, np.float32)}, np.full(2, k)) for k in (0, 1)]

def worth(outputs, target):
    return next(iter(outputs.values()))[:, 0] - target
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy_bundle(WORTH[:3]).save(tmp_path / "out")
    (tmp_path / "my_attributed.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def call(*options: str) -> Result:
    asked = ["attribute", "out", "--data", "my_attributed:data", "--metric", "my_attributed:worth", *options]
    return CliRunner().invoke(cli, asked)


def test_it_prints_and_keeps_what_the_function_finds(place: Path) -> None:
    done = call("--baseline", "0,0,0", "--json", "found.json", "--results", "values.jsonl")
    assert done.exit_code == 0, done.output
    found = rr.Attribution.load(place / "found.json")
    assert [site.value for site in found.sites] == pytest.approx(WORTH[:3], abs=1e-5)
    assert found.baseline == (0, 0, 0) and "Shapley values (exact)" in " ".join(done.output.split())
    assert "interaction" in done.output and (place / "values.jsonl").is_file()
    other = call("--path", "1,0,1", "--permutations", "2", "--json", "found.json")
    assert other.exit_code == 0 and rr.Attribution.load(place / "found.json").path == (1, 0, 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--jobs", "0"), "--jobs: expected a number of workers"),
        (("--baseline", "0,x"), "--baseline: expected integers joined by commas, got '0,x'"),
        (("--path", "0,x"), "--path: expected integers joined by commas"),
        (("--permutations", "1"), "1 is not in the range"),
        (("--json", "out/found.json"), "--json: expected a place outside of bundles"),
        (("--baseline", "0,0"), "expected 3 integers, one per site"),
    ],
)
def test_wrong_options_are_refused(options: tuple[str, ...], text: str, place: Path) -> None:
    done = call(*options)
    assert done.exit_code != 0 and text in " ".join(f"{done.output} {done.exception}".split())
    assert not (place / "found.json").exists()
