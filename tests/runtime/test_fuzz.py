"""Whatever stands in a bundle's files, a runtime opens it or says in its own words why not."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rr_runtime import BundleError
from rr_runtime.array_files import stored_arrays
from rr_runtime.manifest import Manifest
from rr_runtime.onnx_fields import external_files, largest_metadata

CASES = Path(__file__).parents[1] / "conformance" / "cases"
MANIFESTS = ("chain", "everything", "gate", "layer", "plain", "tree", "static")
SOON = settings(deadline=2000, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(SOON, max_examples=20_000)

NUMBERS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63), 10**300]),
    st.floats(),
    st.sampled_from([0.5, 1e-30, 5e-324, 1e308, 1.0000001]),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "rr_path", "../x", "model.onnx", "gate", "markov", "\ud800", "batch", "2*s"]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@cache
def sound(case: str) -> Any:
    return json.loads((CASES / case / "manifest.json").read_text(encoding="utf-8"))


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, by the keys that lead to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for key, held in inner for place in places(held, (*here, key))]


def change(value: Any, place: tuple[Any, ...], how: str, other: Any) -> None:
    """The value has something else at a place: another value, nothing, the same once more, or an unknown key."""
    for key in place[:-1]:
        value = value[key]
    if how == "gone":
        del value[place[-1]]
    elif how == "twice" and isinstance(value, list):
        value.append(copy.deepcopy(value[place[-1]]))
    elif how == "twice":
        value["unknown"] = other
    else:
        value[place[-1]] = other


@st.composite
def manifests(draw: Callable[..., Any]) -> Any:
    """Sound manifests with one or two changes."""
    made = copy.deepcopy(sound(draw(st.sampled_from(MANIFESTS))))
    for _ in range(draw(st.integers(1, 3))):
        change(
            made, draw(st.sampled_from(places(made))), draw(st.sampled_from(("other", "gone", "twice"))), draw(VALUES)
        )
    return made


def parse(made: Any) -> bool:
    """Tells whether a manifest is read; it is refused in words else, and both for itself and as a text."""
    try:
        Manifest.parse(json.dumps(made))
    except BundleError as error:
        assert ": expected " in str(error) and len(str(error)) < 2000, error
        return False
    return True


@SOON
@given(manifests())
def test_changed_manifests(made: Any) -> None:
    parse(made)


@pytest.mark.slow
@LONG
@given(manifests())
def test_many_changed_manifests(made: Any) -> None:
    parse(made)


def test_changes_are_read_and_refused() -> None:
    """The changes are neither all harmless nor all of them damage."""
    seen: list[bool] = []

    @settings(SOON, database=None, derandomize=True)
    @given(manifests())
    def count(made: Any) -> None:
        seen.append(parse(made))

    count()
    assert 0.05 < sum(seen) / len(seen) < 0.9


@SOON
@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b"9" * 5000)
@example(b'"\\ud800"')
def test_bytes_as_a_manifest(content: bytes) -> None:
    with pytest.raises(BundleError, match=": expected "):
        Manifest.parse(content)


@SOON
@given(case=st.sampled_from(("layer", "external", "int8")), data=st.data())
def test_damaged_models_are_walked(case: str, data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray((CASES / case / "model.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "model.onnx"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (external_files, largest_metadata):
        try:
            read(file)  # type: ignore[operator]
        except ValueError as error:
            assert str(error).startswith("expected ")


@SOON
@given(data=st.data())
def test_damaged_archives_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    """What is read of a damaged archive is arrays that are no larger than it."""
    content = bytearray((CASES / "layer" / "golden.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "golden.npz"
    file.write_bytes(content)
    try:
        arrays = stored_arrays(file)
    except Exception:  # each of numpy, zipfile and zlib has its own, which the callers name
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(content)


def test_an_archive_that_would_unpack_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "golden.npz"
    np.savez_compressed(file, x=np.zeros(10**6))
    with pytest.raises(ValueError, match="expected arrays that are not compressed"):
        stored_arrays(file)
    held = io.BytesIO()
    np.savez(held, x=np.zeros(10))
    file.write_bytes(held.getvalue())
    assert stored_arrays(file)["x"].shape == (10,)
