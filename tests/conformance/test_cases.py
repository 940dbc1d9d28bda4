"""The checked-in cases are what the generator makes, and what they promise to any language."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.conformance.answers import indistinct
from tests.conformance.arrays import from_json, to_json
from tests.conformance.forms import FORMS, TARGETS
from tests.conformance.make import CASES, RUNS, check_cases
from tests.conformance.same import differences
from tests.conformance.specs import SPECS

LARGEST = 1_750_000  # bytes of all cases together


def runs_of(case: str) -> dict[str, Any]:
    return dict(json.loads((CASES / case / RUNS).read_text()))


def test_cases_are_what_the_generator_makes() -> None:
    assert check_cases(SPECS) == []


def test_cases_are_small() -> None:
    assert sum(file.stat().st_size for file in CASES.rglob("*") if file.is_file()) < LARGEST


def test_every_kind_is_covered() -> None:
    kinds, interfaces, dtypes, runs = set(), set(), set(), set()
    for case in SPECS:
        manifest = CASES / case / "manifest.json"
        runs |= {run["kind"] for run in runs_of(case)["runs"]}
        if manifest.exists():
            told = json.loads(manifest.read_text())
            kinds |= {(site["kind"], site["policy"]["type"]) for site in told["sites"]}
            interfaces.add(told["interface"])
            dtypes |= {row["dtype"] for row in told["inputs"] + told["outputs"]}
    assert kinds >= {(k, "categorical") for k in ("layer", "operation", "parameter")} | {("layer", "markov")}
    assert interfaces == {"explicit", "host", "standalone", "plain"}
    assert dtypes >= {"float16", "float32", "bool", "int32", "int64", "uint8"}
    assert runs == {"run", "stream", "fresh", "ensemble", "refused"}


def test_every_target_is_of_a_case_and_every_form_is_used() -> None:
    assert set(TARGETS) <= set(SPECS)
    assert {name for names in TARGETS.values() for name in names} == set(FORMS)
    for case, names in TARGETS.items():
        assert set(json.loads((CASES / case / "manifest.json").read_text())["targets"]) == set(names)


@pytest.mark.parametrize("case", SPECS)
def test_runs_read_and_name_what_the_case_has(case: str) -> None:
    data = runs_of(case)
    assert (data["format"], data["version"], data["case"]) == ("rr.conformance", 1, case)
    names = [run["name"] for run in data["runs"]]
    assert len(set(names)) == len(names)
    for run in data["runs"]:
        arrays = [*run["inputs"].values(), *_outputs(run)]
        for row in arrays:
            assert from_json(row).tolist() == np.array(row["data"]).reshape(row["shape"]).tolist()


def _outputs(run: dict[str, Any]) -> list[Any]:
    if run["kind"] not in ("run", "fresh"):
        return []
    return [row for answer in run["expected"] for row in answer["outputs"].values()]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
def test_arrays_come_back_exactly(dtype: str) -> None:
    array = (np.linspace(-3, 3, 6).reshape(2, 3) ** 3).astype(dtype)
    found = from_json(json.loads(json.dumps(to_json(array))))
    assert found.dtype == array.dtype and np.array_equal(found, array)


@pytest.mark.parametrize("array", [np.array([np.inf]), np.array([np.nan], np.float32), np.array([2**53 + 1])])
def test_numbers_without_exact_json_are_refused(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="expected numbers that JSON holds exactly"):
        to_json(array)


def test_numbers_that_the_dtype_does_not_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="expected numbers that float16 holds"):
        from_json({"dtype": "float16", "shape": [1], "data": [0.1]})


def test_paths_that_cannot_be_told_apart_are_refused() -> None:
    runs = runs_of("operation")["runs"]
    forced = [run for run in runs if run["name"].startswith("path")]
    assert indistinct(SPECS["operation"], forced) == []
    forced[1]["expected"][0]["outputs"] = forced[0]["expected"][0]["outputs"]
    assert len(indistinct(SPECS["operation"], forced)) == 1


# Each damages a copy of a case; the check must see it.
def _edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = json.loads((folder / RUNS).read_text())
        change(data)
        (folder / RUNS).write_text(json.dumps(data))

    return damage


def _path(data: Any) -> None:
    data["runs"][0]["expected"][0]["path"][0] ^= 1


def _input(data: Any) -> None:
    data["runs"][0]["inputs"]["x"]["data"][0] += 1e-9


def _output(data: Any) -> None:
    row = data["runs"][0]["expected"][0]["outputs"]["output"]["data"]
    row[0] *= 1.01


def _stream(data: Any) -> None:
    next(run for run in data["runs"] if run["kind"] == "stream")["seeds"][0] = "999"


def _weight(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + np.float32(1e-6), tensor.name))
    onnx.save(model, folder / "model.onnx")


def _branches(folder: Path) -> None:
    model = onnx.load(folder / "cuda.onnx")
    node = next(node for node in model.graph.node if node.op_type == "If")
    one, other = node.attribute
    one.name, other.name = other.name, one.name
    onnx.save(model, folder / "cuda.onnx")


def _threshold(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sites"][0]["policy"]["thresholds"][0][0] *= 1.001
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _missing(folder: Path) -> None:
    (folder / "cuda.onnx").unlink()


def _golden(folder: Path) -> None:
    with np.load(folder / "golden.npz") as read:
        arrays = dict(read)
    arrays[next(key for key in arrays if "/output/" in key)] += np.float32(0.01)
    np.savez(folder / "golden.npz", **arrays)


@pytest.mark.parametrize(
    "damage",
    [_edit(_path), _edit(_input), _edit(_output), _edit(_stream), _weight, _branches, _threshold, _missing, _golden],
    ids=["path", "input", "output", "stream", "weight", "branches", "threshold", "missing", "golden"],
)
def test_damaged_case_is_seen(damage: Callable[[Path], None], copied: Callable[[str], Path]) -> None:
    folder = copied("layer")
    assert differences(folder / "layer", CASES / "layer") == []
    damage(folder / "layer")
    assert differences(folder / "layer", CASES / "layer")
