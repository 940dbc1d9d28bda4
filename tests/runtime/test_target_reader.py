"""What a manifest says about targets: what is read, and one error for each way in which it can be wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from rr_runtime import BundleError
from rr_runtime.manifest import Manifest
from rr_runtime.segment_program import Choose, Run

from . import handmade

Json = dict[str, Any]

OUTPUTS = ["y", "large", "count"]
COMMON = {"provider": "cpu", "precision": "float32", "rtol": 1e-4, "atol": 1e-5}


def leaf(model: str, source: str, result: str) -> Json:
    return {"steps": [{"run": model, "inputs": [source], "outputs": [result]}], "results": [result]}


PROGRAM: list[Json] = [
    {"run": "a.onnx", "inputs": ["x", "offset"], "outputs": ["h", "large", "count"]},
    {
        "site": 0,
        "outputs": ["o"],
        "branches": [
            leaf("b.onnx", "h", "twice"),
            {
                "steps": [
                    {
                        "site": 1,
                        "outputs": ["inner"],
                        "branches": [leaf("c.onnx", "h", "more"), {"steps": [], "results": ["h"]}],
                    }
                ],
                "results": ["inner"],
            },
            {"steps": [], "results": ["h"]},
        ],
    },
    {"run": "d.onnx", "inputs": ["o"], "outputs": ["y"]},
]
FROZEN: Json = {
    "form": "frozen",
    "paths": [
        {"path": [0, -1, 1], "weight": 0.75, "keep": 1.0, "model": "a.onnx"},
        {"path": [1, 0, 0], "weight": 0.25, "keep": 0.5, "model": "b.onnx"},
    ],
    "thresholds": [0.5],
}


def full() -> Json:
    """Returns a manifest with a target of every form."""
    record = {"sha256": "ab" * 32, "bytes": 12}
    names = ["model.onnx", "a.onnx", "b.onnx", "c.onnx", "d.onnx"]
    targets = {
        "gates": {**COMMON, "form": "routed", "interface": "gates", "model": "a.onnx", "sizes": {"batch": 2}},
        "parts": {**COMMON, "form": "segments", "program": PROGRAM, "share": 0.1},
        "two": {**COMMON, **FROZEN, "distance": {"total_variation": 0.5}},
    }
    return copy.deepcopy({**handmade.manifest(), "files": dict.fromkeys(names, record), "targets": targets})


def test_every_form_is_read() -> None:
    targets = Manifest.parse(full()).targets
    assert list(targets) == ["gates", "parts", "two"]
    assert (targets["gates"].interface, targets["gates"].model) == ("gates", "a.onnx")
    assert dict(targets["gates"].sizes) == {"batch": 2}
    first, choice, last = targets["parts"].program
    assert first == Run("a.onnx", ("x", "offset"), ("h", "large", "count"))
    assert isinstance(choice, Choose) and choice.site == 0 and choice.branches[2].results == ("h",)
    assert isinstance(choice.branches[1].steps[0], Choose)
    assert last == Run("d.onnx", ("o",), ("y",))
    assert (targets["parts"].share, targets["gates"].share) == (0.1, 0.0)
    assert targets["two"].paths[1].path == (1, 0, 0) and targets["two"].thresholds == (0.5,)


def test_a_manifest_without_targets_has_none() -> None:
    assert dict(Manifest.parse(handmade.manifest()).targets) == {}
    assert dict(Manifest.parse(full()).about_model().targets) == {}


def put(*place: Any, value: Any) -> Callable[[Json], None]:
    def change(manifest: Any) -> None:
        for key in place[:-1]:
            manifest = manifest[key]
        manifest[place[-1]] = value

    return change


def rename(manifest: Json) -> None:
    manifest["targets"]["default"] = manifest["targets"].pop("gates")


def endless(manifest: Json) -> None:
    program: list[Json] = []
    for _ in range(5000):
        program = [{"site": 2, "outputs": [], "branches": [{"steps": program, "results": []}] * 2}]
    manifest["targets"]["parts"]["program"] = program


PARTS, TWO = ("targets", "parts"), ("targets", "two")
BAD = [
    (put("targets", value=[]), "targets: expected an object"),
    (put("targets", "gates", "form", value="folded"), "expected 'routed' or 'segments' or 'frozen', got 'folded'"),
    (put("targets", "gates", "interface", value="standalone"), "interface: expected 'explicit' or 'host' or 'gates'"),
    (put("targets", "gates", "model", value="z.onnx"), "model: expected the name of a recorded file, got 'z.onnx'"),
    (put("targets", "gates", "model", value="../a.onnx"), "expected the name of a recorded file"),
    (put("targets", "gates", "precision", value="int3"), "precision: expected 'float32' or 'float16' or 'qdq'"),
    (put("targets", "gates", "sizes", value={"batch": "two"}), r"sizes\.batch: expected an integer >= 1"),
    (put("targets", "gates", "sizes", value={"batch": 0}), r"sizes\.batch: expected an integer >= 1"),
    (put("targets", "gates", "sizes", value={"tokens": 2}), "sizes: expected sizes of batch"),
    (put("targets", "gates", "operators", value="z.config"), "operators: expected the name of a recorded file"),
    (put("targets", "gates", "operators", value=3), "operators: expected a text"),
    (put("targets", "gates", "rtol", value=-1), "rtol: expected a number"),
    (put("targets", "gates", "share", value=2), "share: expected a number in"),
    (rename, "expected other names than 'default'"),
    (put(*PARTS, "program", 0, "run", value="z.onnx"), "run: expected the name of a recorded file"),
    (put(*PARTS, "program", 0, "inputs", value=["z"]), "expected steps that make the value 'z' before it is used"),
    (put(*PARTS, "program", 2, "outputs", value=["z"]), "expected steps that make the value 'y'"),
    (put(*PARTS, "program", 1, "site", value=3), "site: expected an integer in 0..2, got 3"),
    (put(*PARTS, "program", 1, "branches", value=[]), "branches: expected 3 branches, each with 1 results"),
    (put(*PARTS, "program", 1, "branches", 2, "results", value=[]), "expected 3 branches, each with 1 results"),
    (put(*PARTS, "program", 1, "branches", 2, "results", value=["twice"]), "make the value 'twice' before it is used"),
    (endless, "expected programs that are not nested without end"),
    (put(*TWO, "paths", value=[]), "paths: expected at least one path"),
    (put(*TWO, "paths", 1, "path", value=[0, -1, 1]), "paths: expected different paths"),
    (put(*TWO, "paths", 1, "path", value=[0, 1]), "path: expected 3 routes"),
    (put(*TWO, "paths", 1, "path", value=[3, 0, 0]), "path: expected 3 routes"),
    (put(*TWO, "paths", 1, "weight", value=0.5), "paths: expected weights that sum to 1"),
    (put(*TWO, "paths", 1, "keep", value=1.5), "keep: expected a number in"),
    (put(*TWO, "thresholds", value=[]), "thresholds: expected 1 thresholds that do not fall"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_damage_is_told(change: Callable[[Json], None], message: str) -> None:
    manifest = full()
    change(manifest)
    with pytest.raises(BundleError, match=message):
        Manifest.parse(manifest)
