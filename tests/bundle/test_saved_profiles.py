"""Profiles of a saved bundle: its manifest and its card are written anew, and no other file; proofs stay honest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.bundle.card import unproven_parts
from rr_export.bundle.contents import HubFiles
from rr_export.bundle.saved_profiles import put_profile
from rr_runtime import Session

X = (torch.linspace(-1, 1, 8).reshape(2, 4),)
MEASURED = rr.Measured(0.5, 0.8, 0.1, "f1")


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))).eval()
    rr.route_layers(net, "[01]", keep=0.8)
    return net


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a profile, verified; not to be changed."""
    made = rr.export(model(), X)
    place = made.with_profile("half", half(made)).save(tmp_path_factory.mktemp("saved") / "out")
    bundle = rr.load(place)
    bundle.write_parity(rr.verify(bundle, model(), X, max_paths=4).to_json())
    return place


@pytest.fixture
def place(proven: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(proven, tmp_path / "out"))


def half(bundle: rr.Bundle, p: float = 0.5) -> rr.Plan:
    return bundle.plan.with_policies([rr.Categorical([1 - p, p])] * 2)


def put(place: Path, name: str, law: rr.Plan | list[int] | None, **options: object) -> rr.Bundle:
    bundle = rr.load(place)
    profile = None
    if law is not None:
        profile = bundle.with_profile(name, law, measured=options.pop("measured", None)).profiles[name]  # type: ignore[arg-type]
    put_profile(bundle, name, profile, **options)  # type: ignore[arg-type]
    return bundle


def unproven(place: Path) -> list[str]:
    bundle = rr.load(place)
    assert bundle.parity is not None
    return unproven_parts(bundle.targets, bundle.profiles, bundle.parity)


def contents(place: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in place.rglob("*") if file.is_file()}


def test_manifest_and_card_are_written_and_no_other_file(place: Path) -> None:
    before = contents(place)
    bundle = put(place, "short", [1, 0], measured=MEASURED)
    after = contents(place)
    assert {name for name in after if after[name] != before.get(name)} == {"manifest.json", "README.md"}
    assert before.keys() == after.keys() and list(bundle.profiles) == ["half", "short"] == list(rr.load(place).profiles)
    assert Session(place).run({"input": X[0].numpy()}, budget=0.5).path.tolist() == [1, 0]  # type: ignore[union-attr]
    assert "| `short` | path 1,0 | 50.0% | 0.8 ± 0.1 (f1) |" in after["README.md"].decode()
    put(place, "short", None)
    assert contents(place) == before


def test_what_another_process_puts_there_meanwhile_is_kept(place: Path) -> None:
    one, other = rr.load(place), rr.load(place)
    for name, bundle in (("one", one), ("other", other)):
        put_profile(bundle, name, bundle.with_profile(name, [0, 0]).profiles[name])
    assert list(rr.load(place).profiles) == ["half", "one", "other"] == list(other.profiles)


def test_a_proof_is_of_the_law_that_it_was_made_of(place: Path) -> None:
    assert unproven(place) == []
    put(place, "half", half(rr.load(place), 0.6), overwrite=True)
    assert unproven(place) == ["profile half"] and "verified, but for profile half" in repr(rr.load(place))
    card = (place / "README.md").read_text()
    assert "Made after it: profile half" in card and "| profile half | holds |" not in card
    put(place, "half", [1, 1], overwrite=True)
    assert unproven(place) == ["profile half"]
    put(place, "half", half(rr.load(place)), overwrite=True, measured=MEASURED)  # the law as it was, measured
    assert unproven(place) == [] and "| profile half | holds |" in (place / "README.md").read_text()
    put(place, "half", None)
    assert unproven(place) == [] and "profile half" not in (place / "README.md").read_text()


def test_sabotage_a_point_that_says_of_no_law_proves_none(place: Path) -> None:
    parity = json.loads((place / "parity.json").read_text())
    (point,) = (check for check in parity["checks"] if check["name"] == "profile half")
    point["figures"].pop("law")
    (place / "parity.json").write_text(json.dumps(parity))
    assert unproven(place) == ["profile half"]


def test_with_profile_and_a_loaded_law_keep_the_same_proof(place: Path) -> None:
    bundle = rr.load(place)
    again = bundle.with_profile("half", half(bundle)).with_profile("late", [0, 1])
    assert again.parity is not None
    assert unproven_parts((), again.profiles, again.parity) == ["profile late"]
    thirds = bundle.with_profile("half", half(bundle, 1 / 3))
    assert unproven_parts((), thirds.profiles, again.parity) == ["profile half"]


def test_the_card_around_a_folder_of_hugging_face_tells_them(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    around = HubFiles({"config.json": b"{}"}, {"pipeline_tag": "feature-extraction"})
    rr.export(model(), X).save(hub, around=around)
    (hub / "README.md").write_text((hub / "README.md").read_text() + "\nmy own words\n")
    put(hub, "half", half(rr.load(hub)))
    put(hub / "onnx", "short", [1, 0])
    card = (hub / "README.md").read_text()
    assert "`half`" in card and "`short`" in card and "my own words" in card and "pipeline_tag: feature" in card
    assert (hub / "config.json").read_bytes() == b"{}" and list(rr.load(hub).profiles) == ["half", "short"]


def test_a_card_that_was_changed_stays(place: Path) -> None:
    card = (place / "README.md").read_text().replace("## Proof", "## My proof")
    (place / "README.md").write_text(card)
    with pytest.warns(UserWarning, match=r"changed between its marks.*the card stays as it was"):
        put(place, "short", [1, 0])
    assert (place / "README.md").read_text() == card and "short" in rr.load(place).profiles


def test_what_cannot_be_put_is_refused(place: Path, tmp_path: Path) -> None:
    before = contents(place)
    with pytest.raises(rr.RRExportError, match=r"out: expected no profile 'half', got one; choose another name"):
        put(place, "half", [1, 1])
    with pytest.raises(rr.RRExportError, match="out: expected the profile 'late', got half; name one of them"):
        put(place, "late", None)
    bundle = rr.load(place)
    profile = bundle.with_profile("new", [1, 1]).profiles["new"]
    alone = rr.Bundle(bundle.model, bundle.manifest)
    with pytest.raises(rr.RRExportError, match=r"profile: expected a bundle in a folder.*got one that is not saved"):
        put_profile(alone, "new", profile)
    alone.save(tmp_path / "alone.onnx")
    with pytest.raises(rr.RRExportError, match=r"alone.onnx: expected a bundle in a folder.*got a single file"):
        put_profile(alone, "new", profile)
    assert contents(place) == before


def test_a_bundle_that_was_saved_there_meanwhile_gets_no_profile_of_the_one_before(place: Path) -> None:
    bundle = rr.load(place)
    profile = bundle.with_profile("new", [1, 1]).profiles["new"]
    other = model()
    rr.route_layers(other, "2", keep=0.5)
    rr.export(other, X).save(place, overwrite=True)
    before = contents(place)
    with pytest.raises(rr.RRExportError, match="expected the bundle that was loaded, got another one"):
        put_profile(bundle, "new", profile)
    assert contents(place) == before
    np.testing.assert_array_equal(Session(place).run({"input": X[0].numpy()}, path=[1, 1, 1]).path, [1, 1, 1])
