"""Who runs which node: as onnxruntime records it, and as profiles tell where it does not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rr_runtime.bundle import open_bundle
from rr_runtime.tools import assignment as tool
from rr_runtime.tools.assignment import Assigned, assignment
from rr_runtime.tools.inputs import timed_inputs
from rr_runtime.tools.parts import Gate, Place, label


def parts(folder: Path) -> tuple[tool.Assignment, Counter[str]]:
    bundle = open_bundle(folder)
    found = assignment(bundle, None, "cpu", timed_inputs(bundle))
    assert all(node.part is not None for node in found.nodes)
    return found, Counter(label(node.part or (), bundle.manifest.sites) for node in found.nodes)


def test_every_branch_has_its_nodes(saved: Path) -> None:
    found, count = parts(saved)
    assert found.told_by == "assignment" and found.copies == () and found.outside == () and found.whole == ()
    assert found.count() == {"cpu": len(found.nodes)}
    for site in open_bundle(saved).manifest.sites:
        assert all(count[f"{site.name}: {branch}"] > 0 for branch in site.branches), site.name
    assert count["outside all branches"] > 20


def test_profiles_tell_where_onnxruntime_does_not(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, expected = parts(saved)
    monkeypatch.setattr(tool, "_tells", lambda: False)
    profiled, count = parts(saved)
    assert profiled.told_by == "profile"
    assert set(count) == set(expected)
    assert 0.8 * len(recorded.nodes) < len(profiled.nodes) <= len(recorded.nodes)


@pytest.mark.parametrize("tells", [True, False])
def test_bug_names_that_several_branches_have(
    tells: bool, same_names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle(same_names)
    branches = [len(site.branches) for site in bundle.manifest.sites]
    places = tool._places(same_names / "model.onnx", (), branches, tmp_path)[2]
    names = Counter(place.name for place in places)
    assert names["gemm_input_reshape"] == 3
    monkeypatch.setattr(tool, "_tells", lambda: tells)
    found = assignment(bundle, None, "cpu", timed_inputs(bundle))
    count = Counter(node.part for node in found.nodes if node.name.startswith("gemm_"))
    assert count == Counter(place.part for place in places if place.name.startswith("gemm_"))
    if tells:
        assert Counter(node.part for node in found.nodes) == Counter(place.part for place in places)


def test_an_if_without_its_nodes_was_taken_whole() -> None:
    places = [
        Place("outer", "If", (), Gate(0, "0", 1), ("inner", "a")),
        Place("inner", "If", ((0, 1, 2),), Gate(1, "1", 1), ("a",)),
        Place("a", "Add", ((0, 1, 2), (1, 1, 2))),
        Place("other", "If", (), Gate(2, "2", 1), ("b",)),
        Place("b", "Add", ((2, 1, 2),)),
    ]

    def told(**providers: str) -> tuple[int, ...]:
        return tool._taken_whole([Assigned("m", n, "?", p, ()) for n, p in providers.items()], places)

    assert told(outer="x", other="cpu", b="x") == (0, 1)
    assert told(outer="x", inner="x", a="x", other="x") == (2,)
    assert told(outer="cpu", inner="x", other="cpu", b="cpu") == (1,)
    assert told(outer="cpu", inner="cpu", other="cpu", b="cpu") == ()
    assert told(outer="x", inner="x", a="cpu", other="x", b="x") == ()
