"""Bundle folders and model files: what opens, and what is refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.parser  # noqa: F401
import pytest

from rr_runtime import BundleError, Session
from rr_runtime.bundle import open_bundle

from . import handmade

WriteBundle = Callable[..., Path]


# What opens


@pytest.mark.parametrize("external", [False, True], ids=["one file", "external weights"])
@pytest.mark.parametrize("interface", handmade.INTERFACES)
def test_folders_open(bundle: WriteBundle, interface: str, external: bool) -> None:
    folder = bundle(interface, external=external)
    opened = open_bundle(folder)
    assert (opened.path, opened.model) == (folder, folder / "model.onnx")
    assert (folder / "model.onnx.data").exists() == (external and interface != "plain")
    assert set(opened.manifest.files) == {file.name for file in folder.iterdir()} - {"manifest.json"}
    Session(folder).run(handmade.example())


@pytest.mark.parametrize("interface", handmade.INTERFACES)
def test_single_files_open(tmp_path: Path, interface: str) -> None:
    file = handmade.write_file(tmp_path / "any name.onnx", interface)
    opened = open_bundle(str(file))
    assert (opened.path, opened.model, opened.manifest.interface) == (file, file, interface)
    assert (dict(opened.manifest.files), opened.manifest.golden) == ({}, ())
    Session(file).run(handmade.example())


def test_single_file_with_external_weights_opens(bundle: WriteBundle) -> None:
    result = Session(bundle(external=True) / "model.onnx").run(handmade.example(), path=[1, 1, 0])
    np.testing.assert_allclose(result.outputs["y"], handmade.example()["x"] @ handmade.WEIGHT)


def test_other_files_beside_the_recorded_ones_are_ignored(bundle: WriteBundle) -> None:
    folder = bundle()
    (folder / "parity.json").write_text("{}")
    assert Session(folder).check() == 4


def test_symbolic_links_are_followed(bundle: WriteBundle, tmp_path: Path) -> None:
    folder = bundle()
    os.rename(folder / "model.onnx", tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    assert Session(folder).check() == 4


def test_folder_whose_model_lost_its_metadata_opens(bundle: WriteBundle) -> None:
    folder = bundle()
    onnx.save_model(handmade.model(metadata=""), folder / "model.onnx")
    handmade.write_manifest(folder, handmade.content_of(folder))
    assert Session(folder).check() == 4


# What is refused


@pytest.mark.parametrize("suffix", ["", ".onnx"])
def test_missing_path_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nothing{suffix}"
    message = rf"^{re.escape(str(path))}: expected a bundle folder or a model file, got nothing there; check the path$"
    with pytest.raises(BundleError, match=message):
        Session(path)


def test_folder_without_manifest_is_refused(bundle: WriteBundle) -> None:
    folder = bundle()
    (folder / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"bundle: expected a bundle folder with manifest.json, got none; export one"):
        Session(folder)


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    file = handmade.write_file(tmp_path / "foreign.onnx", metadata="")
    message = (
        r"foreign\.onnx: expected a model with metadata rr\.manifest, got one without; export it with rr_export, or "
    )
    with pytest.raises(BundleError, match=message):
        Session(file)


@pytest.mark.parametrize("keep", [0, 1, 10, 0.5, 0.99, -1])
def test_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    file = handmade.write_file(tmp_path / "cut.onnx")
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(
        BundleError, match=r"cut\.onnx: expected an ONNX model that onnxruntime [\d.]+ loads, got: .*; copy"
    ):
        Session(file)


@pytest.mark.parametrize("data", [b"hello, world", b"PK\3\4" + bytes(100), b"\x80\4" + bytes(20), b"{}"])
def test_file_of_another_format_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "other.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"other\.onnx: expected an ONNX model that onnxruntime .* loads, got: "):
        Session(tmp_path / "other.onnx")


@pytest.mark.parametrize("text", ["{", "[]", "hello", json.dumps({"format": "rr.manifest", "version": 99})])
def test_damaged_manifest_is_refused(bundle: WriteBundle, tmp_path: Path, text: str) -> None:
    message = r": expected (JSON|an object|version 1), got .*; "
    folder = bundle()
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"bundle.manifest\.json" + message):
        Session(folder)
    file = handmade.write_file(tmp_path / "single.onnx", metadata=text)
    with pytest.raises(BundleError, match=r"single\.onnx: metadata rr\.manifest" + message):
        Session(file)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "golden.npz"])
def test_missing_file_is_refused(bundle: WriteBundle, name: str) -> None:
    folder = bundle(external=True)
    (folder / name).unlink()
    message = (
        rf"bundle.{re.escape(name)}: expected the file that manifest\.json records, got none; copy the whole bundle"
    )
    with pytest.raises(BundleError, match=message):
        Session(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "golden.npz"])
def test_changed_file_is_refused(bundle: WriteBundle, name: str) -> None:
    folder = bundle(external=True)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    message = (
        rf"bundle.{re.escape(name)}: expected SHA-256 [0-9a-f]{{64}}, got [0-9a-f]{{64}}; copy or export the bundle"
    )
    with pytest.raises(BundleError, match=message):
        Session(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "golden.npz"])
def test_cut_file_is_refused(bundle: WriteBundle, name: str) -> None:
    folder = bundle(external=True)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-5])
    message = rf"bundle.{re.escape(name)}: expected {len(data)} bytes, got {len(data) - 5}; copy the bundle again"
    with pytest.raises(BundleError, match=message):
        Session(folder)


def test_folder_in_the_place_of_a_file_is_refused(bundle: WriteBundle) -> None:
    folder = bundle()
    (folder / "golden.npz").unlink()
    (folder / "golden.npz").mkdir()
    with pytest.raises(
        BundleError, match=r"golden\.npz: expected the file that manifest\.json records, got none; copy"
    ):
        Session(folder)


def test_folder_in_the_place_of_the_manifest_is_refused(bundle: WriteBundle) -> None:
    folder = bundle()
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    with pytest.raises(BundleError, match=r"expected a bundle folder with manifest\.json, got none; "):
        Session(folder)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_unreadable_file_is_refused(bundle: WriteBundle, name: str) -> None:
    folder = bundle()
    (folder / name).chmod(0)
    with pytest.raises(
        BundleError, match=rf"{re.escape(name)}: expected a readable file, got .*; check its permissions"
    ):
        Session(folder)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_failing_disk_is_named(bundle: WriteBundle, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle()
    opened = Path.open

    def fail(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self == folder / name:
            raise OSError(5, "Input/output error")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(
        BundleError, match=rf"{re.escape(name)}: expected a readable file, got .*output error; check its"
    ):
        Session(folder)


def test_manifest_without_record_of_the_model_is_refused(bundle: WriteBundle) -> None:
    folder = bundle()
    golden = handmade.record(folder / "golden.npz")
    handmade.write_manifest(folder, handmade.content_of(folder), files={"golden.npz": golden})
    with pytest.raises(
        BundleError, match=r"manifest\.json: files: expected a record of model\.onnx, got golden\.npz; export"
    ):
        Session(folder)
    handmade.write_manifest(folder, handmade.content_of(folder), files={})
    with pytest.raises(
        BundleError, match=r"manifest\.json: files: expected a record of model\.onnx, got nothing; export"
    ):
        Session(folder)


@pytest.mark.parametrize("absolute", [True, False])
def test_bundle_that_reaches_outside_its_folder_is_refused(bundle: WriteBundle, tmp_path: Path, absolute: bool) -> None:
    folder = bundle()
    (tmp_path / "secret").write_text("secret")
    name = str(tmp_path / "secret") if absolute else "../secret"
    files = {"model.onnx": handmade.record(folder / "model.onnx"), name: handmade.record(tmp_path / "secret")}
    handmade.write_manifest(folder, handmade.content_of(folder), files=files)
    with pytest.raises(
        BundleError, match=r"manifest\.json: files: expected names of files inside .*, got '.*secret'; do not"
    ):
        Session(folder)


def test_model_of_another_bundle_is_refused(bundle: WriteBundle) -> None:
    folder = bundle()
    other = handmade.manifest()
    other["sites"][0]["branches"] = ["less", "nested", "twice"]
    handmade.write_file(folder / "model.onnx", metadata=other)
    handmade.write_manifest(folder, handmade.content_of(folder))
    with pytest.raises(
        BundleError, match=r"model\.onnx: expected the manifest of .*bundle in its metadata, got another; copy"
    ):
        Session(folder)


def without_path_output() -> onnx.ModelProto:
    """Returns a model that lost an output after its manifest was written."""
    made = handmade.model()
    made.graph.output.pop()
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(
            handmade.model("host", metadata=handmade.manifest("explicit")),
            r"expected the inputs x, offset, rr_seed, rr_path of its manifest, got x, offset, rr_draws, rr_path",
            id="another interface",
        ),
        pytest.param(
            handmade.model("standalone", metadata=handmade.manifest("host")),
            r"expected the inputs x, offset, rr_draws, rr_path of its manifest, got x, offset; export it again",
            id="no rr inputs",
        ),
        pytest.param(
            without_path_output(),
            r"expected the outputs y, large, count, rr_path_taken of its manifest, got y, large, count; export",
            id="no path output",
        ),
        pytest.param(
            handmade.model(metadata={**handmade.manifest(), "outputs": handmade.manifest()["outputs"][:2]}),
            r"expected the outputs y, large, rr_path_taken of its manifest, got y, large, count, rr_path_taken; export",
            id="an output more",
        ),
        pytest.param(
            handmade.model(metadata={**handmade.manifest(), "sites": handmade.SITES[:2]}),
            r"input 'rr_path': expected tensor\(int64\) \[2\] of its manifest, got tensor\(int64\) \[3\]; export",
            id="another number of sites",
        ),
        pytest.param(
            handmade.model(
                metadata=json.dumps(handmade.manifest()).replace(
                    '"int64", "shape": ["batch"', '"int32", "shape": ["batch"'
                )
            ),
            r"input 'offset': expected tensor\(int32\) \['batch'\] of its manifest, got tensor\(int64\) \['batch'\]; ",
            id="another dtype",
        ),
        pytest.param(
            handmade.model(metadata=json.dumps(handmade.manifest()).replace('["batch", 4]', '["batch", 5]')),
            r"input 'x': expected tensor\(float\) \['batch', 5\] of its manifest, got tensor\(float\) \['batch', 4\]; ",
            id="another size",
        ),
        pytest.param(
            handmade.model(metadata=json.dumps(handmade.manifest()).replace('["batch", 4]', '["batch"]')),
            r"input 'x': expected tensor\(float\) \['batch'\] of its manifest, got tensor\(float\) \['batch', 4\]; ",
            id="another rank",
        ),
    ],
)
def test_model_that_is_not_what_its_manifest_says_is_refused(
    tmp_path: Path, made: onnx.ModelProto, message: str
) -> None:
    onnx.save_model(made, tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx: " + message):
        Session(tmp_path / "model.onnx")


def test_bug_input_with_a_default_does_not_count_as_an_input(tmp_path: Path) -> None:
    made = handmade.model()
    made.graph.initializer.append(onnx.helper.make_tensor("rr_seed", onnx.TensorProto.INT64, [], [-1]))
    onnx.save_model(made, tmp_path / "model.onnx")
    with pytest.raises(
        BundleError, match=r"expected the inputs x, offset, rr_seed, rr_path .*, got x, offset, rr_path; "
    ):
        Session(tmp_path / "model.onnx")
