"""The manifest: what is read, and one error for each way in which it can be wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from rr_runtime import BundleError
from rr_runtime.manifest import Manifest, RecordedFile

from . import handmade

Json = dict[str, Any]


def full() -> Json:
    """Returns a manifest with everything in it."""
    record = {"sha256": "ab" * 32, "bytes": 12}
    golden = [{"seed": None, "path": [1, 0, -1], "taken": [1, 0, 1]}, {"seed": 7, "path": None, "taken": [0, -1, 1]}]
    return {**handmade.manifest(), "files": {"model.onnx": record, "weights/a.bin": record}, "golden": golden}


def put(*place: Any, value: Any) -> Callable[[Json], None]:
    """Returns a change that puts a value at a place."""

    def change(manifest: Any) -> None:
        for key in place[:-1]:
            manifest = manifest[key]
        manifest[place[-1]] = value

    return change


def test_everything_is_read() -> None:
    manifest = Manifest.parse(full())
    assert (manifest.interface, manifest.opset, manifest.rtol, manifest.atol) == ("explicit", 20, 1e-5, 1e-6)
    outer, inner, head = manifest.sites
    assert (outer.name, outer.kind, outer.branches) == ("outer", "operation", ("twice", "nested", "less"))
    assert outer.calls == ((),)
    assert inner.calls == (((0, 1),),)
    assert (outer.policy.type, outer.policy.chain, outer.policy.step) == ("categorical", None, None)
    assert outer.policy.probabilities == ((0.25, 0.25, 0.5),)
    assert outer.policy.thresholds == ((0.25, 0.5),)
    assert (head.policy.type, head.policy.chain, head.policy.step) == ("markov", 0, 1)
    assert head.policy.thresholds == ((0.75,), (0.125,))
    assert [str(tensor) for tensor in manifest.inputs] == ["x: float32 [batch, 4]", "offset: int64 [batch]"]
    assert manifest.outputs[1].dtype == "bool"
    assert dict(manifest.producer) == {"hand": "1"}
    assert manifest.files["weights/a.bin"] == RecordedFile("ab" * 32, 12)
    assert manifest.golden[0].path == (1, 0, -1)
    assert (manifest.golden[1].seed, manifest.golden[1].taken) == (7, (0, -1, 1))


@pytest.mark.parametrize("interface", handmade.INTERFACES)
def test_text_bytes_and_dictionary_are_the_same(interface: str) -> None:
    content = handmade.manifest(interface)
    text = json.dumps(content)
    assert Manifest.parse(content) == Manifest.parse(text) == Manifest.parse(text.encode())
    assert Manifest.parse(content).interface == interface


def test_manifest_about_the_model_has_no_files_and_cases() -> None:
    assert Manifest.parse(full()).about_model() == Manifest.parse(handmade.manifest())


def test_manifest_is_frozen() -> None:
    manifest = Manifest.parse(full())
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest.opset = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        manifest.files["model.onnx"] = RecordedFile("", 0)  # type: ignore[index]


def test_unknown_keys_are_ignored() -> None:
    content = full()
    content["later"] = content["sites"][0]["later"] = content["sites"][0]["policy"]["later"] = {"a": 1}
    content["inputs"][0]["later"] = content["files"]["model.onnx"]["later"] = content["golden"][0]["later"] = 1
    assert Manifest.parse(content) == Manifest.parse(full())


KEYS = [
    *((key,) for key in handmade.manifest()),
    *(("sites", 0, key) for key in ("name", "kind", "branches", "calls", "policy")),
    *(("sites", 0, "policy", key) for key in ("type", "probabilities", "thresholds")),
    *(("sites", 1, "policy", key) for key in ("chain", "step")),
    *(("inputs", 0, key) for key in ("name", "dtype", "shape")),
    *(("outputs", 0, key) for key in ("name", "dtype", "shape")),
    *(("tolerances", key) for key in ("rtol", "atol")),
    *(("files", "model.onnx", key) for key in ("sha256", "bytes")),
    *(("golden", 0, key) for key in ("seed", "path", "taken")),
]


@pytest.mark.parametrize("place", KEYS, ids=lambda place: ".".join(map(str, place)))
def test_missing_keys_are_named(place: tuple[Any, ...]) -> None:
    content: Any = full()
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    with pytest.raises(BundleError, match=rf"^here: .*{place[-1]}: expected this key, got none; .* export"):
        Manifest.parse(content, where="here")


WRONG: list[Any] = [True, 1.5, [[]], {"a": []}, ""]
RIGHT: list[tuple[Any, ...]] = [("tolerances", "rtol", 1.5), ("tolerances", "atol", 1.5), ("sites", 0, "calls", [[]])]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(place, value, id=f"{'.'.join(map(str, place))}={value!r}")
        for place in KEYS
        for value in WRONG
        if (*place, value) not in RIGHT
    ],
)
def test_values_of_a_wrong_type_are_refused(place: tuple[Any, ...], value: object) -> None:
    content = full()
    put(*place, value=value)(content)
    with pytest.raises(BundleError, match=r"^here: .*expected .*, got .*; "):
        Manifest.parse(content, where="here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", value="onnx"), r"here: format: expected 'rr.manifest', got 'onnx'; .* export"),
        (put("version", value=2), r"here: expected version 1, got 2; update rr-runtime"),
        (put("version", value=0), r"here: expected version 1, got 0; "),
        (put("generator", value="philox"), r"here: generator: expected 'splitmix64', got 'philox'; "),
        (put("interface", value="magic"), r"interface: expected 'explicit' or 'host' or .*, got 'magic'; "),
        (put("interface", value="plain"), r"here: sites: expected no sites in a file of interface 'plain', got \["),
        (put("sites", value=[]), r"sites: expected sites in a file of interface 'explicit', got \[\]; "),
        (put("sites", 0, "name", value="head"), r"sites: expected sites of different names, got"),
        (put("sites", 0, "kind", value="gate"), r"sites\[0\]\.kind: expected 'layer' or .*, got 'gate'; "),
        (put("sites", 0, "branches", value=[]), r"sites\[0\]\.branches: expected at least one branch, got \[\]; "),
        (put("sites", 0, "branches", 1, value=3), r"branches\[1\]: expected a text that is not empty, got 3; "),
        (put("sites", 0, "branches", value=["a"]), r"probabilities\[0\]: expected 1 numbers \(1 branches\), got \["),
        (put("sites", 1, "calls", value=[[[0, 3]]]), r"sites\[1\]\.calls: expected .*branches.*, got \[0, 3\]; "),
        (put("sites", 1, "calls", value=[[[3, 0]]]), r"sites\[1\]\.calls: expected .*branches.*, got \[3, 0\]; "),
        (put("sites", 1, "calls", value=[[[1, 0]]]), r"sites\[1\]\.calls: expected .*other sites, got \[1, 0\]; "),
        (put("sites", 1, "calls", value=[[[0]]]), r"calls\[0\]\[0\]: expected a pair .*, got \[0\]; "),
        (
            put("sites", 0, "policy", "type", value="router"),
            r"policy\.type: expected 'categorical' or .*, got 'router'",
        ),
        (put("sites", 0, "policy", "type", value="markov"), r"policy\.chain: expected this key, got none; "),
        (put("sites", 0, "policy", "probabilities", value=[]), r"probabilities: expected one row, got \[\]; "),
        (put("sites", 0, "policy", "probabilities", 0, value=[0.5, 0.5, 0.5]), r"expected rows that sum to 1, got"),
        (put("sites", 0, "policy", "probabilities", 0, value=[2, 0, -1]), r"expected a number in \[0, 1\], got 2; "),
        (put("sites", 0, "policy", "thresholds", value=[]), r"thresholds: expected 1 rows, .*, got \[\]; "),
        (put("sites", 0, "policy", "thresholds", 0, value=[0.5, 0.25]), r"expected rows that do not fall, got"),
        (put("sites", 0, "policy", "thresholds", 0, value=[0.5]), r"thresholds\[0\]: expected 2 numbers .*, got"),
        (
            put("sites", 0, "policy", "thresholds", 0, value=[0.25, 0.75]),
            r"thresholds: expected in row 0 the cumulated probabilities \[0\.25, 0\.25, 0\.5\], got",
        ),
        (
            put("sites", 2, "policy", "thresholds", 1, value=[0.125 + 2**-22]),
            r"sites\[2\]\.policy\.thresholds: expected in row 1 the cumulated probabilities \[0\.125, 0\.875\], got",
        ),
        (
            lambda m: m["sites"][0]["policy"].update(probabilities=[[0.5, 0.5, 0]], thresholds=[[0.5, 0.9]]),
            r"thresholds: expected in row 0 the cumulated probabilities \[0\.5, 0\.5, 0\.0\], got",
        ),
        (put("sites", 2, "policy", "step", value=0), r"sites: expected each step of a chain once, got"),
        (
            put("sites", 2, "policy", "step", value=2),
            r"'head', step 2 of chain 0: expected a step 1 before it, got none",
        ),
        (
            put("sites", 2, "calls", value=[[[1, 0]]]),
            r"sites\[2\]\.calls: expected all branches around each .*\[1, 0\]",
        ),
        (
            put("axes", value={"n": [9, 2]}),
            r"axes\.n: expected a least size that is not above the largest, got \[9, 2\]",
        ),
        (
            put("sites", 1, "policy", "probabilities", value=[[0.5, 0.5]] * 2),
            r"sites\[1\]|thresholds: expected 2 rows",
        ),
        (
            lambda m: m["sites"][2]["policy"].update(probabilities=[[0.5, 0.5]], thresholds=[[0.5]]),
            r"site 'head', step 1 of chain 0: expected 2 rows of probabilities, got 1; ",
        ),
        (put("inputs", 0, "dtype", value="bfloat16"), r"inputs\[0\]\.dtype: expected .*'float32'.*, got 'bfloat16'; "),
        (put("inputs", 0, "shape", value=[-1, 4]), r"inputs\[0\]\.shape\[0\]: expected an integer >= 0, got -1; "),
        (put("inputs", 0, "shape", value=[None]), r"shape\[0\]: expected an integer >= 0, got None; "),
        (put("inputs", 0, "name", value="offset"), r"inputs: expected different names, and none of rr_seed"),
        (put("inputs", 0, "name", value="rr_path"), r"inputs: expected different names, and none of rr_seed"),
        (put("outputs", 0, "name", value="rr_path_taken"), r"outputs: expected different names, and none of rr_seed"),
        (put("tolerances", "rtol", value=-1), r"tolerances\.rtol: expected a number in \[0, 1e\+09\], got -1; "),
        (put("tolerances", "rtol", value=float("nan")), r"tolerances\.rtol: expected a number .*, got nan; "),
        (put("tolerances", "atol", value=10**400), r"tolerances\.atol: expected a number .*, got 1000.*\.\.\.000+; "),
        (put("producer", "torch", value=2), r"producer\.torch: expected a text .*, got 2; "),
        (put("files", "model.onnx", "sha256", value="AB" * 32), r"sha256: expected 64 hexadecimal digits, .*, got 'AB"),
        (put("files", "model.onnx", "bytes", value=-1), r"files\.model\.onnx\.bytes: expected an integer >= 0, got -1"),
        (put("golden", 0, "path", value=[1, 0]), r"golden\[0\]\.path: expected 3 routes, .*, got \[1, 0\]; "),
        (put("golden", 0, "path", value=[3, 0, 0]), r"golden\[0\]\.path: expected 3 routes, .*, got \[3, 0, 0\]; "),
        (put("golden", 0, "path", value=[-2, 0, 0]), r"golden\[0\]\.path\[0\]: expected an integer >= -1, got -2; "),
        (put("golden", 0, "seed", value=-1), r"golden\[0\]\.seed: expected an integer in 0\.\.9223.*, got -1; "),
        (put("golden", 0, "seed", value=2**63), r"golden\[0\]\.seed: expected an integer in 0\.\.9223.*, got 9223"),
    ],
)
def test_wrong_values_are_named(change: Callable[[Json], None], message: str) -> None:
    content = full()
    change(content)
    with pytest.raises(BundleError, match=message):
        Manifest.parse(content, where="here")


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../model.onnx", "a/../../b", "..", "a/..", ""),
        *("C:\\model.onnx", "C:model.onnx", "\\\\host\\share\\x", "..\\x", "a\\b", "model.onnx:stream", "a\0b"),
    ],
)
def test_hostile_file_names_are_refused(name: str) -> None:
    content = full()
    content["files"][name] = {"sha256": "ab" * 32, "bytes": 12}
    with pytest.raises(BundleError, match=r"here: files: expected names of files inside .*, got .*; do not use"):
        Manifest.parse(content, where="here")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "not json", json.dumps(full())[:-10], '{"format": NaN}', '{"version": Infinity}'),
        *("[" * 100_000, '{"a": ' * 100_000, b"\xff\xfe\xfa", "1" * 10_000),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_text_that_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(BundleError, match=r"^here: expected JSON, got \w+: .*; .* export"):
        Manifest.parse(text, where="here")


def test_deep_values_are_shown_shortly() -> None:
    deep: list[Any] = []
    for _ in range(800):
        deep = [deep]
    with pytest.raises(BundleError, match=r"opset: expected an integer >= 1, got \[+\.\.\.\]+; "):
        Manifest.parse({**full(), "opset": deep})


@pytest.mark.parametrize("text", ["[]", "3", '"rr.manifest"', "null"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match=r"^here: expected an object, got .*; "):
        Manifest.parse(text, where="here")


@pytest.mark.parametrize(
    ("probabilities", "thresholds"),
    [
        ([0.1, 0.2, 0.7], [0.10000000149011612, 0.30000001192092896]),  # float32, as exporters write them
        ([0.1, 0.2, 0.7], [0.1, 0.3]),  # not rounded
        ([0.1 + 9e-7, 0.2, 0.7], [0.1000008, 0.3000006]),  # divided by their sum
        ([0.0, 1.0, 0.0], [0.0, 1.0]),
        ([1 / 3, 1 / 3, 1 / 3], [0.3333333432674408, 0.6666666865348816]),
    ],
)
def test_thresholds_are_those_of_the_probabilities(probabilities: list[float], thresholds: list[float]) -> None:
    content = full()
    content["sites"][0]["policy"].update(probabilities=[probabilities], thresholds=[thresholds])
    assert Manifest.parse(content).sites[0].policy.thresholds == (tuple(thresholds),)
