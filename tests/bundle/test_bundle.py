"""Saving and loading: atomic, nothing overwritten silently, everything checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

import rr_export as rr
import rr_export.bundle.bundle
from rr_export.errors import BundleError
from rr_runtime import Session
from tests import nets


@pytest.fixture(scope="module")
def small() -> rr.Bundle:
    return rr.export(nets.layers(2), (nets.example(),))


@pytest.fixture
def bundle(small: rr.Bundle) -> rr.Bundle:
    return rr.Bundle(small.model, small.manifest, small.golden)


def entries(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_folder_holds_what_is_shipped(bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = bundle.save(tmp_path / "out")
    assert entries(folder) == ["README.md", "golden.npz", "manifest.json", "model.onnx"]
    assert entries(tmp_path) == ["out"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == {"model.onnx", "golden.npz"}
    assert [c["seed"] for c in manifest["golden"]] == [None, None, 0, 1]


def test_what_is_loaded_is_what_was_saved(bundle: rr.Bundle, tmp_path: Path) -> None:
    loaded = rr.load(bundle.save(tmp_path / "out"))
    assert loaded.manifest == json.loads(json.dumps(bundle.manifest))
    assert [s.name for s in loaded.plan.sites] == ["0", "1"]
    assert len(loaded.golden) == 4
    for a, b in zip(loaded.golden, bundle.golden, strict=True):
        assert (a.seed, a.path, a.taken, a.why) == (b.seed, b.path, b.taken, b.why)
        np.testing.assert_array_equal(a.inputs["input"], b.inputs["input"])
        np.testing.assert_array_equal(a.outputs["output"], b.outputs["output"])


def test_a_chain_survives_the_manifest(everything_bundle: rr.Bundle) -> None:
    plan, original = everything_bundle.plan, rr.plan_of(nets.everything())
    assert plan.chains == original.chains
    for a, b in zip(plan.sites, original.sites, strict=True):
        np.testing.assert_array_equal(a.policy.thresholds, b.policy.thresholds)
        assert a.calls == b.calls or set(a.calls) == set(b.calls)


def test_saving_the_same_again_is_fine(bundle: rr.Bundle, tmp_path: Path) -> None:
    first = bundle.save(tmp_path / "out")
    before = (first / "model.onnx").stat().st_mtime_ns
    bundle.save(tmp_path / "out")
    assert (first / "model.onnx").stat().st_mtime_ns == before


def test_other_content_is_never_overwritten_silently(bundle: rr.Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "out")
    other = rr.export(nets.layers(1), (nets.example(),))
    with pytest.raises(BundleError, match=r"expected no such folder, got one with other content"):
        other.save(tmp_path / "out")
    assert len(rr.load(tmp_path / "out").plan.sites) == 2
    other.save(tmp_path / "out", overwrite=True)
    assert len(rr.load(tmp_path / "out").plan.sites) == 1
    assert entries(tmp_path) == ["out"]


def test_a_foreign_folder_is_never_replaced(bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("precious")
    with pytest.raises(BundleError, match=r"expected an earlier bundle to replace"):
        bundle.save(folder, overwrite=True)
    assert (folder / "chapter1.txt").read_text() == "precious"
    assert entries(tmp_path) == ["thesis"]


@pytest.mark.parametrize("manifest", ['{"manifest_version": 3}', "[]", "not json"])
def test_bug_a_folder_with_a_foreign_manifest_is_never_replaced(
    bundle: rr.Bundle, tmp_path: Path, manifest: str
) -> None:
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest)
    (folder / "precious.txt").write_text("precious")
    with pytest.raises(BundleError, match=r"expected an earlier bundle to replace, got '(manifest.json|precious.txt)'"):
        bundle.save(folder, overwrite=True)
    assert entries(folder) == ["manifest.json", "precious.txt"]


def test_bug_a_bundle_with_foreign_files_is_never_replaced(bundle: rr.Bundle, tmp_path: Path) -> None:
    folder = bundle.save(tmp_path / "out")
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(BundleError, match=r"got 'notes.txt', which no bundle holds"):
        rr.export(nets.layers(1), (nets.example(),)).save(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "precious"


def test_an_empty_folder_is_filled(bundle: rr.Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "model.onnx" in entries(bundle.save(tmp_path / "out"))


def test_a_failed_save_leaves_nothing(bundle: rr.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(
        BundleError, match=r"out: expected a place that can be written to, got 'disk full'; name another"
    ):
        bundle.save(tmp_path / "out")
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder.onnx", r"folder\.onnx: expected a place for one file, as its name ends in \.onnx, got a folder; save"),
        ("a\0b", r"got 'a name with a zero byte'; name another place$"),
        ("a" * 300, r"aaa: expected a place that can be written to, got 'File name too long'; name another place$"),
        ("a" * 300 + ".onnx", r"a\.onnx: expected a place that can be written to, got 'File name too long'; name"),
        ("file/out", r"out: expected a place that can be written to, got '.*/file', which is no folder, on the way"),
        ("file/out/model.onnx", r"model\.onnx: expected a place that can be .*/file', which is no folder, on the way"),
        ("/proc/nowhere/out", r"^/proc/nowhere/out: expected a place that can be written to, got 'No such file or dir"),
        ("/proc/model.onnx", r"^/proc/model\.onnx: expected a place that can be written to, got 'No such file or dir"),
    ],
)  # fmt: skip
def test_bug_awkward_places_raised_what_the_system_says(
    bundle: rr.Bundle, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BundleError, match=message) as caught:
        bundle.save(tmp_path / name, overwrite=True)
    assert "rr-new" not in str(caught.value)
    assert entries(tmp_path) == ["file", "folder.onnx"]


def test_an_empty_name_is_no_place(bundle: rr.Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"^save: expected the name of a folder or of an \.onnx file, got an empty text"
    ):
        bundle.save("")


def test_a_single_file_explains_itself(bundle: rr.Bundle, tmp_path: Path) -> None:
    file = bundle.save(tmp_path / "model.onnx")
    loaded = rr.load(file)
    assert [s.name for s in loaded.plan.sites] == ["0", "1"]
    result = Session(file).run({"input": nets.example().numpy()}, path=[1, 0])
    assert result.path is not None and result.path.tolist() == [1, 0]


def test_a_single_file_is_not_overwritten_silently(bundle: rr.Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"expected no such file, got one with other content"):
        bundle.save(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"something else"


def test_a_single_file_cannot_have_external_data(bundle: rr.Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"got a request for external data; save to a folder"):
        bundle.save(tmp_path / "model.onnx", external_data=True)


def big() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    blocks = [rr.LayerChoice(nn.Sequential(nn.Linear(256, 256), nn.ReLU()), 0.5) for _ in range(4)]
    return nn.Sequential(*blocks).eval(), torch.randn(2, 256)


def test_external_data_gives_the_same_outputs(tmp_path: Path) -> None:
    model, x = big()
    bundle = rr.export(model, (x,))
    inside, outside = bundle.save(tmp_path / "inside"), bundle.save(tmp_path / "outside", external_data=True)
    assert (outside / "model.onnx").stat().st_size < 100_000
    assert (outside / "model.onnx.data").stat().st_size >= 4 * 256 * 256 * 4
    onnx.checker.check_model(str(outside / "model.onnx"), full_check=True)
    results = [Session(p).run({"input": x.numpy()}, seed=3) for p in (inside, outside)]
    np.testing.assert_array_equal(results[0].outputs["output"], results[1].outputs["output"])
    assert Session(outside).check() == 4
    reloaded = rr.load(outside)
    assert rr.verify(reloaded, model, (x,)).passed
    again = reloaded.save(tmp_path / "again", external_data=True)
    assert (again / "model.onnx.data").read_bytes() == (outside / "model.onnx.data").read_bytes()
    assert reloaded.save(tmp_path / "one.onnx").stat().st_size >= 4 * 256 * 256 * 4


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, x = big()
    return rr.export(model, (x,)).save(tmp_path_factory.mktemp("saved") / "outside", external_data=True)


def flipped(outside: Path, to: Path, *names: str) -> Path:
    """A copy of some files of a bundle in which one bit of a weight is another."""
    to.mkdir()
    for name in names:
        shutil.copy(outside / name, to)
    content = bytearray((outside / "model.onnx.data").read_bytes())
    content[100] ^= 64
    (to / "model.onnx.data").write_bytes(content)
    return to / "model.onnx"


def test_bug_weights_outside_were_not_hashed_where_the_model_file_is_opened(outside: Path, tmp_path: Path) -> None:
    everything = [file.name for file in outside.iterdir()]
    bundled = flipped(outside, tmp_path / "bundled", *everything)
    for opened in (rr.load, Session):
        with pytest.raises(Exception, match=r"model\.onnx\.data: expected SHA-256 \w+, got"):
            opened(bundled)
    for given in (bundled, bundled.parent):
        (found,) = [f for f in rr.lint(given) if f.code == "RR303"]
        assert "model.onnx.data: expected SHA-256" in found.message
    (bundled.parent / "model.onnx.data").unlink()
    assert [f.code for f in rr.lint(bundled)] == ["RR001"]


def test_a_model_file_away_from_its_manifest_tells_the_hash_of_its_weights(outside: Path, tmp_path: Path) -> None:
    alone = flipped(outside, tmp_path / "alone", "model.onnx")
    message = (
        r"model\.onnx\.data: expected the SHA-1 \w+ that model\.onnx tells of its weights, got \w+; copy both again"
    )
    for opened in (rr.load, Session):
        with pytest.raises(Exception, match=message):
            opened(alone)
    assert [f.code for f in rr.lint(alone)] == ["RR303"]
    shutil.copy(outside / "model.onnx.data", alone.parent)
    (alone.parent / "manifest.json").write_text('{"name": "of a page"}')  # says nothing of these files
    Session(alone).run({"input": np.zeros((2, 256), np.float32)}, seed=1)
    assert rr.lint(alone) == []


def test_what_another_tool_writes_has_no_hash_and_opens(outside: Path, tmp_path: Path) -> None:
    onnx.save_model(
        onnx.load(outside / "model.onnx"), tmp_path / "model.onnx", save_as_external_data=True,
        location="model.onnx.data", size_threshold=0,
    )  # fmt: skip
    Session(tmp_path / "model.onnx").run({"input": np.zeros((2, 256), np.float32)}, seed=1)


def test_saving_externally_leaves_the_bundle_in_memory_alone(tmp_path: Path) -> None:
    model, x = big()
    bundle = rr.export(model, (x,))
    bundle.save(tmp_path / "outside", external_data=True)
    shutil.rmtree(tmp_path / "outside")
    content = ir.to_proto(bundle.model).SerializeToString()
    assert len(content) > 4 * 256 * 256 * 4


def test_weights_above_the_limit_go_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rr_export.bundle.bundle, "EXTERNAL_ABOVE", 100_000)
    model, x = big()
    bundle = rr.export(model, (x,))
    assert "model.onnx.data" in entries(bundle.save(tmp_path / "out"))
    with pytest.raises(BundleError, match=r"save to a folder"):
        bundle.save(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[:-9]), r"model.onnx"),
        (
            lambda f: (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[::-1]),
            r"model.onnx.*sha256|SHA-256",
        ),
        (lambda f: (f / "golden.npz").unlink(), r"golden.npz"),
        (lambda f: (f / "manifest.json").unlink(), r"manifest.json"),
        (lambda f: (f / "manifest.json").write_text("{"), r"manifest.json"),
        (lambda f: (f / "parity.json").write_text("{"), r"parity.json: expected a parity report"),
    ],
)
def test_a_damaged_bundle(bundle: rr.Bundle, tmp_path: Path, change: Any, message: str) -> None:
    folder = bundle.save(tmp_path / "out")
    change(folder)
    with pytest.raises(BundleError, match=message):
        rr.load(folder)


def test_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "foreign.onnx").write_bytes(b"not a model")
    with pytest.raises(BundleError, match=r"foreign.onnx"):
        rr.load(tmp_path / "foreign.onnx")
    torch.onnx.export(nn.Linear(2, 2).eval(), (torch.zeros(1, 2),), tmp_path / "plain.onnx", dynamo=True, verbose=False)
    with pytest.raises(BundleError, match=r"plain.onnx.*manifest"):
        rr.load(tmp_path / "plain.onnx")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"got nothing there"):
        rr.load(tmp_path / "nothing")


def test_the_size_is_that_of_the_unique_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(512, 512), 0.5) for _ in range(6))).eval()
    file = rr.export(model, (torch.randn(1, 512),)).save(tmp_path / "model.onnx")
    assert file.stat().st_size <= 1.02 * sum(p.numel() * 4 for p in model.parameters())


def test_a_manifest_that_no_runtime_would_read_is_not_written(bundle: rr.Bundle, tmp_path: Path) -> None:
    long = rr.Bundle(bundle.model.clone(), {**bundle.manifest, "producer": {"by": "x" * 2**24}})
    for name in ("out", "out.onnx"):
        with pytest.raises(BundleError, match="manifest: expected at most 16384 sites and 16777216 bytes, got 2 sites"):
            long.save(tmp_path / name)
    assert entries(tmp_path) == []


def test_bug_a_single_file_with_a_damaged_byte_is_a_bundle_error(bundle: rr.Bundle, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    bundle.save(file)
    sound, seen = file.read_bytes(), set()
    for place in [*range(0, len(sound), len(sound) // 60), sound.index(b"rr.manifest"), sound.index(b"rr_seed")]:
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x80]) + sound[place + 1 :])
        try:
            seen.add(len(rr.load(file).plan.sites))
        except BundleError:
            seen.add(-1)
    assert -1 in seen and seen <= {-1, len(bundle.plan.sites)}


@pytest.mark.parametrize("change", ["in place", "by its data", "to another type"])
def test_bug_training_on_after_export_changed_the_bundle(tmp_path: Path, change: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    rr.route_layers(model, "0", keep=0.5)
    bundle, args = rr.export(model, (torch.ones(2, 4),)), (torch.ones(2, 4),)
    bundle.save(tmp_path / "before")
    before = model.state_dict()["1.weight"].clone()
    if change == "in place":
        with torch.no_grad():
            model[1].weight.add_(1)
    elif change == "by its data":
        model[1].weight.data.mul_(2)
    else:
        model.half()
    for place in ("after", "after.onnx"):
        with pytest.raises(
            rr.RRExportError, match=r"got other numbers in '\d\.[\w.]+', which was changed in place since"
        ):
            bundle.save(tmp_path / place)
    if change == "in place":
        with torch.no_grad():
            model[1].weight.copy_(before)
        bundle.save(tmp_path / "again")  # what it was
        rr.verify(tmp_path / "again", model, args, max_paths=1)


def test_bug_a_manifest_that_says_other_than_its_model_is_not_loaded(bundle: rr.Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "out")
    file = tmp_path / "out" / "manifest.json"
    told = json.loads(file.read_text())
    told["sites"][0]["name"] = "another"
    file.write_text(json.dumps(told))
    with pytest.raises(BundleError, match=r"expected the manifest of .* in its metadata, got another"):
        rr.load(tmp_path / "out")
