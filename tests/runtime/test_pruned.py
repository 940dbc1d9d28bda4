"""What a pruned file says of its source: read, refused where it cannot be, and paths translated."""

from __future__ import annotations

from typing import Any

import pytest

from rr_runtime import BundleError
from rr_runtime.manifest import Manifest
from rr_runtime.pruned import Pruned

SITES = [
    {
        "name": name,
        "kind": "operation",
        "branches": branches,
        "calls": [[]],
        "policy": {
            "type": "categorical",
            "probabilities": [[1 / len(branches)] * len(branches)],
            "thresholds": [[0.5][: len(branches) - 1]],
        },
    }
    for name, branches in (("a", ["y"]), ("b", ["u", "w"]))
]
PRUNED: dict[str, Any] = {
    "source": {"sha256": "0" * 64},
    "profiles": ["fast"],
    "law": None,
    "sites": [{"branches": ["x", "y"], "kept": [1]}, {"branches": ["u", "v", "w"], "kept": [0, 2]}],
}


def manifest(pruned: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": "rr.manifest", "version": 1, "interface": "explicit", "opset": 20, "generator": "splitmix64",
        "sites": SITES, "inputs": [], "outputs": [], "tolerances": {"rtol": 0.0, "atol": 0.0}, "producer": {},
        "pruned": pruned,
    }  # fmt: skip


def told() -> Pruned:
    found = Manifest.parse(manifest(PRUNED)).pruned
    assert found is not None
    return found


def test_paths_are_translated_both_ways() -> None:
    pruned = told()
    for old, new in (((1, 0), (0, 0)), ((1, 2), (0, 1)), ((-1, 2), (-1, 1))):
        assert pruned.path(old) == new
        assert pruned.source_path(new) == old
    assert repr(pruned) == "Pruned(of 000000000000, for fast; without a: x, b: v; own law as before)"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            (0, 0),
            r"site 'a' that stays, 1 \(y\), got 0, which was pruned: 'x'; run the file with the SHA-256 000000000000",
        ),
        ((1, 1), r"site 'b' that stays, 0 \(u\), 2 \(w\), got 1, which was pruned: 'v'"),
        ((1, 3), "site 'b' that stays, .*, got 3; run"),
        ((1,), "expected 2 routes, one per site, got 1"),
    ],
)
def test_a_path_through_what_is_gone_is_refused(path: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        told().path(path)


@pytest.mark.parametrize("path", [(1, 0), (0, 2), (0, -2), (0,)])
def test_a_path_that_the_file_has_not_is_refused(path: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="path: expected 2 routes from -1 to 0, 1, got"):
        told().source_path(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"source": {"sha256": "A" * 64}}, "64 hexadecimal digits"),
        ({"sites": PRUNED["sites"][:1]}, "2 rows, one per site"),
        ({"sites": [{"branches": ["x", "y"], "kept": [0]}, PRUNED["sites"][1]]}, "rising numbers of the branches y"),
        ({"sites": [PRUNED["sites"][0], {"branches": ["u", "v", "w"], "kept": [2, 0]}]}, "rising numbers"),
        ({"law": ""}, "a text that is not empty"),
        ({"profiles": "fast"}, "a list"),
    ],
)
def test_damage_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(BundleError, match=text):
        Manifest.parse(manifest({**PRUNED, **change}))


def test_a_file_that_was_not_pruned_says_nothing() -> None:
    whole = manifest(PRUNED)
    del whole["pruned"]
    assert Manifest.parse(whole).pruned is None
    assert Manifest.parse({**manifest(PRUNED), "interface": "plain", "sites": []}).pruned is None  # a frozen path of it
