"""Where profiles go: targets, folders for a device, static files, the layout of Hugging Face, other tools' files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.bundle.contents import HubFiles
from rr_export.cli.package import _table
from rr_export.parity.against import check_points
from rr_export.parity.terms import Terms
from rr_runtime import Session, draws

X = {"input": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
SEEDS = range(12)


@pytest.fixture(scope="module")
def bundle() -> rr.Bundle:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4))).eval()
    rr.route_layers(net, "[012]", keep=0.9)
    made = rr.export(net, (torch.from_numpy(X["input"]),))
    half = made.plan.with_policies([rr.Uniform(2)] * 3)
    last = made.plan.with_policies({"0": rr.Categorical([0, 1]), "1": rr.Categorical([0, 1]), "2": rr.Uniform(2)})
    for name, law in {"half": half, "last": last, "all": [1, 1, 1], "none": [0, 0, 0]}.items():
        made = made.with_profile(name, law, measured=rr.Measured(1.0, 1.0, 0.0, "f1") if name == "all" else None)
    return made


def drawn(bundle: rr.Bundle, name: str) -> list[list[int]]:
    law = bundle.profiles[name].law
    assert law is not None
    return [law.routes(draws(seed, 3)).tolist() for seed in SEEDS]


def taken(session: Session, name: str) -> list[list[int]]:
    paths = [session.run(X, seed=seed, profile=name).path for seed in SEEDS]
    return [path.tolist() for path in paths if path is not None]


@pytest.mark.parametrize(
    "options",
    [
        {"target": "qnn"},
        {"target": "qnn", "precision": "qdq"},
        {"target": "webgpu"},
        {"target": "cuda", "precision": "float16"},
        {"target": "cpu", "format": "ort"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_a_folder_for_a_device_keeps_them(bundle: rr.Bundle, options: dict[str, str], tmp_path: Path) -> None:
    packaged = rr.package(bundle, **options, name="form")  # type: ignore[arg-type]
    assert packaged.profiles == bundle.profiles
    session = Session(packaged.save(tmp_path / "device", only=["form"]), target="form")
    assert list(session.profiles) == ["half", "last", "all", "none"]
    assert not (tmp_path / "device" / "model.onnx").exists()
    assert taken(session, "half") == drawn(bundle, "half") and taken(session, "none") == [[0, 0, 0]] * len(SEEDS)
    assert session.run(X, budget=1.0).path.tolist() == [1, 1, 1]  # type: ignore[union-attr]
    card = (tmp_path / "device" / "README.md").read_text()
    assert "| `half` | [0.5 0.5] at all sites |" in card and "profile='half'" not in card


@pytest.fixture(scope="module")
def frozen(bundle: rr.Bundle) -> rr.Bundle:
    """Of the eight paths it has the two with the first two layers."""
    return rr.package(bundle, "cpu", frozen=2, best=lambda path: 2 * path[0] + 2 * path[1] + path[2], name="two")


def test_a_frozen_target_takes_what_it_has_and_refuses_the_rest(frozen: rr.Bundle, tmp_path: Path) -> None:
    assert sorted(row["path"] for row in frozen.targets["two"].about["paths"]) == [[1, 1, 0], [1, 1, 1]]
    session = Session(frozen.save(tmp_path / "out", only=["two"]), target="two")
    assert taken(session, "last") == drawn(frozen, "last")
    assert {tuple(path) for path in taken(session, "last")} == {(1, 1, 0), (1, 1, 1)}
    assert taken(session, "all") == [[1, 1, 1]] * len(SEEDS)
    text = (
        r"path: expected one of the 2 paths of target 'two' .*, got 0,0,0; package it \(of a profile all that it draws"
    )
    with pytest.raises(ValueError, match=text):
        session.run(X, profile="none")
    refused = 0
    for seed, path in zip(SEEDS, drawn(frozen, "half"), strict=True):
        if path[:2] == [1, 1]:
            assert session.run(X, seed=seed, profile="half").path.tolist() == path  # type: ignore[union-attr]
        else:
            refused += 1
            with pytest.raises(ValueError, match="of a profile all that it draws"):
                session.run(X, seed=seed, profile="half")
    assert 0 < refused < len(SEEDS)


def test_package_says_which_runs_a_frozen_target_refuses(frozen: rr.Bundle) -> None:
    notes = next(iter(_table(Path("out"), frozen, ["two"]).columns[-1].cells))
    assert "it refuses 75.0% of the runs of profile 'half', whose paths it has not" in str(notes)
    assert "it refuses 100.0% of the runs of profile 'none'" in str(notes)
    assert "'last'" not in str(notes) and "'all'" not in str(notes)


def test_a_static_file_has_none(bundle: rr.Bundle, tmp_path: Path) -> None:
    static = rr.freeze(bundle, [1, 0, 1])
    assert not static.profiles
    for place in (tmp_path / "static", tmp_path / "static.onnx"):
        with pytest.raises(ValueError, match=r"profile: expected none for .*, got one; a file of interface 'plain'"):
            Session(static.save(place)).run(X, profile="half")


def test_the_layout_of_hugging_face_has_them(bundle: rr.Bundle, tmp_path: Path) -> None:
    hub = bundle.save(tmp_path / "hub", around=HubFiles({"config.json": b"{}"}, {}))
    for place in (hub, hub / "onnx"):
        assert taken(Session(place), "half") == drawn(bundle, "half") and rr.load(place).profiles.keys() == {
            *bundle.profiles
        }


def test_a_model_file_that_is_opened_by_its_name_has_none(bundle: rr.Bundle, tmp_path: Path) -> None:
    place = bundle.save(tmp_path / "out")
    session = Session(place / "model.onnx")
    with pytest.raises(
        ValueError, match=r"profile: expected a bundle with profiles, got .*model.onnx without; open the"
    ):
        session.run(X, profile="half")
    with pytest.raises(ValueError, match="budget: expected a bundle with a menu, got one without"):
        session.run(X, budget=1.0)


def contract_failures(file: Path, place: Path) -> tuple[str, ...]:
    bundle = rr.load(place)
    (check,) = check_points(file, bundle, place, X, Terms(), points=["contract"])
    assert check.passed is not bool(check.failures)
    return check.failures


def test_what_a_tool_made_is_compared_with_the_profiles_of_the_bundle(bundle: rr.Bundle, tmp_path: Path) -> None:
    place = bundle.save(tmp_path / "out")
    same = Path(shutil.copytree(place, tmp_path / "same"))
    assert contract_failures(same, place) == () and rr.verify_against(same, place, max_paths=1).passed
    half = bundle.profiles["half"].law
    assert half is not None
    measured = bundle.with_profile("half", half, measured=rr.Measured(1.0, 1.0, 0.0, "f1"))
    assert contract_failures(measured.save(tmp_path / "measured"), place) == ()
    fewer = rr.Bundle(bundle.model, bundle.manifest, bundle.golden)
    assert contract_failures(fewer.save(tmp_path / "fewer"), place) == ()


@pytest.mark.parametrize(
    ("name", "law", "text"),
    [
        ("half", [1, 0, 1], "profile 'half': expected the law of the bundle, got another one"),
        ("new", [1, 0, 1], "profile 'new': expected none, got one"),
    ],
)
def test_sabotage_another_law_in_a_folder_is_found(
    bundle: rr.Bundle, tmp_path: Path, name: str, law: list[int], text: str
) -> None:
    place = bundle.save(tmp_path / "out")
    other = bundle.with_profile(name, law).save(tmp_path / "other")
    assert contract_failures(other, place) == (text,)
    assert contract_failures(other / "model.onnx", place) == ()  # in which there are none


def test_sabotage_profiles_that_are_none_are_found(bundle: rr.Bundle, tmp_path: Path) -> None:
    place = bundle.save(tmp_path / "out")
    other = Path(shutil.copytree(place, tmp_path / "other"))
    told = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**told, "profiles": [1]}))
    text = "expected a manifest.json that says its profiles, got AttributeError"
    assert any(text in failure for failure in contract_failures(other, place))
