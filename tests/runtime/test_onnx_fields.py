"""Weights that lie in other files are found wherever they are in a model, and are loaded only if they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.helper  # noqa: F401
import onnx.numpy_helper
import pytest

from rr_runtime import BundleError, Session
from rr_runtime.onnx_fields import external_files, largest_metadata
from tests.runtime import handmade

WriteBundle = Callable[..., Path]


def external(name: str, location: str) -> onnx.TensorProto:
    tensor = onnx.numpy_helper.from_array(handmade.WEIGHT, name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def everywhere() -> onnx.ModelProto:
    """A model with a tensor in a file of its own at every place that has one."""
    made = onnx.ModelProto()
    made.graph.initializer.append(external("w", "initializer"))
    made.graph.sparse_initializer.add().values.CopyFrom(external("s", "sparse"))
    node = made.graph.node.add(op_type="If")
    for kind, field in (("t", "tensor"), ("tensors", "tensors")):
        attribute = node.attribute.add(name=kind)
        target = attribute.t if kind == "t" else attribute.tensors.add()
        target.CopyFrom(external("c", field))
    node.attribute.add(name="g").g.initializer.append(external("b", "body"))
    node.attribute.add(name="gs").graphs.add().node.add().attribute.add().g.initializer.append(external("d", "deep"))
    node.attribute.add(name="st").sparse_tensor.indices.CopyFrom(external("i", "indices"))
    made.functions.add().node.add().attribute.add().t.CopyFrom(external("f", "function"))
    made.training_info.add().algorithm.initializer.append(external("a", "training"))
    inside = onnx.numpy_helper.from_array(handmade.WEIGHT, "location")
    inside.external_data.add(key="location", value="of a tensor that is inside")
    made.graph.initializer.append(inside)
    return made


def test_weights_are_found_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(everywhere().SerializeToString())
    names = "initializer sparse tensor tensors body deep indices function training"
    assert external_files(file) == {name: set() for name in names.split()}


def test_metadata_is_measured(tmp_path: Path) -> None:
    file = handmade.write_file(tmp_path / "model.onnx")
    entry = onnx.load(file).metadata_props[0]
    assert largest_metadata(file) == entry.ByteSize()
    (tmp_path / "empty").touch()
    assert largest_metadata(tmp_path / "empty") == 0 and external_files(tmp_path / "empty") == {}


@pytest.mark.parametrize("data", [b"location\xff", b"\x3a\x7flocation", b"\x3b location", b"\x80" * 11 + b"location"])
def test_what_is_no_protobuf_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ValueError, match=r"expected a (field|number)"):
        external_files(tmp_path / "model.onnx")


@pytest.mark.parametrize("location", ["other.data", "../model.onnx.data", "/etc/hostname"])
def test_bug_weights_that_are_not_recorded_are_refused(bundle: WriteBundle, location: str) -> None:
    folder = bundle("explicit", external=True)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for entry in model.graph.initializer[-1].external_data:
        entry.value = location if entry.key == "location" else entry.value
    handmade_weights = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    handmade.write_manifest(folder, handmade.content_of(folder))
    (folder / "other.data").write_bytes(handmade_weights)
    with pytest.raises(BundleError, match=r"model\.onnx: expected weights in files that manifest\.json records, got '"):
        Session(folder)


def test_weights_that_are_recorded_are_loaded(bundle: WriteBundle) -> None:
    folder = bundle("explicit", external=True)
    assert external_files(folder / "model.onnx") == {"model.onnx.data": set()}
    assert Session(folder).run(handmade.example(), seed=1).outputs["y"].dtype == np.float32
