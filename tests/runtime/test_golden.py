"""Golden cases: held, and refused where something differs, is missing or is damaged."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rr_runtime import BundleError, RuntimeFailure, Session
from rr_runtime.golden import difference

from . import handmade

WriteBundle = Callable[..., Path]


def write_golden(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """The folder's golden.npz is edited, and its new hash recorded."""
    with np.load(folder / "golden.npz") as archive:
        arrays: dict[str, Any] = {key: archive[key] for key in archive.files}
    edit(arrays)
    np.savez(folder / "golden.npz", **arrays)
    handmade.write_manifest(folder, handmade.content_of(folder))


@pytest.mark.parametrize(("interface", "cases"), [("explicit", 4), ("host", 4), ("plain", 1)])
def test_golden_cases_hold(bundle: WriteBundle, interface: str, cases: int) -> None:
    assert Session(bundle(interface)).check() == cases


def test_nothing_to_compare_is_a_failure(bundle: WriteBundle, tmp_path: Path) -> None:
    folder = bundle()
    handmade.write_manifest(folder, {**handmade.content_of(folder), "golden": []})
    for path in (folder, handmade.write_file(tmp_path / "single.onnx")):
        with pytest.raises(
            RuntimeFailure, match=r": expected golden cases, got none; check a bundle folder that has some$"
        ):
            Session(path).check()


def test_golden_cases_of_a_standalone_file_cannot_be_checked(bundle: WriteBundle) -> None:
    folder = bundle("standalone")
    handmade.write_manifest(
        folder, {**handmade.content_of(folder), "golden": [{"seed": None, "path": None, "taken": [0, -1, 0]}]}
    )
    with pytest.raises(
        RuntimeFailure, match=r"expected a file that takes a path, got interface 'standalone', .*; verify"
    ):
        Session(folder).check()


@pytest.mark.parametrize(
    ("key", "edit", "message"),
    [
        (
            "1/output/y",
            lambda a: a + 0.01,
            r"golden case 1: output 'y': expected [\d.]+ at \[0, 0\], got [\d.]+ \(8 of 8 differ",
        ),
        ("1/output/y", lambda a: a * np.nan, r"golden case 1: output 'y': expected nan at \[0, 0\], got "),
        (
            "1/output/y",
            lambda a: a.astype(np.float64),
            r"golden case 1: output 'y': expected float64 \[2, 4\], got float32",
        ),
        (
            "1/output/y",
            lambda a: a[:1],
            r"golden case 1: output 'y': expected float32 \[1, 4\], got float32 \[2, 4\]; try",
        ),
        (
            "0/output/large",
            lambda a: ~a,
            r"golden case 0: output 'large': expected (True|False) at \[0, 0\], got (True|False)",
        ),
        (
            "2/output/count",
            lambda a: a + (np.arange(3) == 2),
            r"case 2: output 'count': expected \d+ at \[2\], got \d+ \(1 of",
        ),
    ],
)
def test_other_outputs_are_named(bundle: WriteBundle, key: str, edit: Callable[[Any], Any], message: str) -> None:
    folder = bundle()
    write_golden(folder, lambda arrays: arrays.update({key: edit(arrays[key])}))
    with pytest.raises(RuntimeFailure, match=message) as caught:
        Session(folder).check()
    assert not isinstance(caught.value, BundleError)


def test_other_path_is_named(bundle: WriteBundle) -> None:
    folder = bundle()
    content = handmade.content_of(folder)
    taken = content["golden"][0]["taken"]
    content["golden"][0]["taken"] = [taken[0], taken[1], 1 - taken[2]]
    handmade.write_manifest(folder, content)
    with pytest.raises(
        RuntimeFailure, match=r"golden case 0: expected path \[.*\], got \[.*\]; this onnxruntime computes"
    ):
        Session(folder).check()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda a: a.pop("0/output/y"),
            r"golden case 0: expected outputs \['y', 'large', 'count'\], got \['count', 'large'\]",
        ),
        (
            lambda a: a.update({"0/output/z": a["0/output/y"]}),
            r"golden case 0: expected outputs .*, got .*'z'\]; export",
        ),
        (
            lambda a: a.pop("1/input/x"),
            r"golden case 1: expected inputs of this model, got: input 'x': .*; export again",
        ),
        (
            lambda a: a.update({"1/input/x": np.ones(3)}),
            r"golden case 1: expected inputs of this model, got: input 'x': ",
        ),
    ],
)
def test_incomplete_golden_arrays_are_refused(
    bundle: WriteBundle, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = bundle()
    write_golden(folder, edit)
    with pytest.raises(BundleError, match=message):
        Session(folder).check()


def pickled(file: Path) -> None:
    np.savez(file, **{"0/input/x": np.array([{"a": 1}], dtype=object)})  # type: ignore[arg-type]


def cut_array(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("0/input/x.npy", b"\x93NUMPY\1\0")


@pytest.mark.parametrize(
    "spoil",
    [pickled, cut_array, lambda f: f.write_bytes(b""), lambda f: f.write_bytes(b"PK\3\4")],
    ids=lambda f: f.__name__,
)
def test_golden_file_that_numpy_refuses_is_refused(bundle: WriteBundle, spoil: Callable[[Path], Any]) -> None:
    folder = bundle()
    spoil(folder / "golden.npz")
    handmade.write_manifest(folder, handmade.content_of(folder))
    with pytest.raises(BundleError, match=r"golden\.npz: expected arrays, got \w+: .*; export again"):
        Session(folder).check()


def test_golden_file_that_is_not_recorded_is_refused(bundle: WriteBundle) -> None:
    folder = bundle()
    files = {"model.onnx": handmade.record(folder / "model.onnx")}
    handmade.write_manifest(folder, handmade.content_of(folder), files=files)
    with pytest.raises(BundleError, match=r"golden\.npz: expected a recorded file, .*, got none; export again"):
        Session(folder).check()


def share_inputs(folder: Path, numbers: dict[int, Any]) -> None:
    """Some cases have the inputs of others, and arrays of their own no more."""
    content = handmade.content_of(folder)
    for number, owner in numbers.items():
        content["golden"][number]["inputs"] = owner
        content["golden"][number]["why"] = "it is there"
    write_golden(folder, lambda a: [a.pop(key) for key in list(a) if key.startswith(tuple(f"{n}/in" for n in numbers))])
    handmade.write_manifest(folder, content)


def test_inputs_of_an_earlier_case_are_taken(bundle: WriteBundle) -> None:
    folder = bundle()
    content = handmade.content_of(folder)
    content["golden"][3] = dict(content["golden"][0])
    handmade.write_manifest(folder, content)
    write_golden(folder, lambda a: a.update({f"3{key[1:]}": a[key] for key in list(a) if key.startswith("0/")}))
    share_inputs(folder, {3: 0})
    session = Session(folder)
    assert session.check() == 4
    assert [case.inputs for case in session.manifest.golden] == [None, None, None, 0]
    write_golden(folder, lambda a: a.update({"3/output/y": a["3/output/y"] + 1}))
    with pytest.raises(RuntimeFailure, match=r"golden case 3 \(it is there\): output 'y': expected"):
        Session(folder).check()


@pytest.mark.parametrize("numbers", [{1: 1}, {1: 2}, {0: 0}, {1: -1}, {1: "0"}, {1: True}, {1: 0, 2: 1}])
def test_inputs_of_a_case_that_has_none_are_refused(bundle: WriteBundle, numbers: dict[int, Any]) -> None:
    folder = bundle()
    share_inputs(folder, numbers)
    with pytest.raises(BundleError, match=r"golden\[\d\]\.inputs: expected (an integer|an earlier run)"):
        Session(folder)


@pytest.mark.parametrize(
    ("expected", "found", "equal"),
    [
        (1.0, 1.0 + 1e-6, True),
        (1.0, 1.1, False),
        (np.nan, np.nan, True),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1e38, False),
        (0.0, -0.0, True),
    ],
)
def test_difference_of_floats(expected: float, found: float, equal: bool) -> None:
    one, two = (np.array([value, 3], np.float32) for value in (expected, found))
    assert (difference(one, two, rtol=1e-5, atol=1e-6) is None) == equal


def test_difference_of_integers_is_exact() -> None:
    big = np.array([2**62])
    assert difference(big, big, rtol=1e-3, atol=1e-3) is None
    assert difference(big, big + 1, rtol=1e-3, atol=1e-3) is not None
