"""A ``.ort`` file (onnxruntime's flatbuffer) -> an ONNX model, as far as it has one.

Layout: onnxruntime/core/flatbuffers/schema/ort.fbs, whose generated reader ships with onnxruntime. What
onnxruntime fused keeps its own operators of the domain ``com.microsoft``.
"""

from __future__ import annotations

import importlib
import struct
import sys
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnxruntime

from rr_export.errors import LintError

ORT_SUFFIX = ".ort"
_FOLDER = Path(onnxruntime.__file__).parent / "tools" / "ort_format_model"  # without the package: it imports torch
_SCALARS = {
    onnx.AttributeProto.FLOAT: ("f", "F"),
    onnx.AttributeProto.INT: ("i", "I"),
    onnx.AttributeProto.STRING: ("s", "S"),
}
_LISTS = {
    onnx.AttributeProto.FLOATS: ("floats", "Floats"),
    onnx.AttributeProto.INTS: ("ints", "Ints"),
    onnx.AttributeProto.STRINGS: ("strings", "Strings"),
}


def load_ort(path: Path) -> ir.Model:
    """Returns the graph in a ``.ort`` file; large weights that lie beside it are left out.

    Raises:
        LintError: it is no such file.
    """
    content = bytearray(path.read_bytes())
    session = _reader("InferenceSession").InferenceSession
    if len(content) < 8 or not session.InferenceSessionBufferHasIdentifier(content, 0):
        raise LintError(f"{path}: expected a model in onnxruntime's .ort format, got something else; name another")
    try:
        return _read_model(session.GetRootAs(content, 0).Model())
    except (struct.error, LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise LintError(
            f"{path}: expected a model in onnxruntime's .ort format, got a damaged one ({error}); copy it again"
        ) from error


def _read_model(source: Any) -> ir.Model:
    model = onnx.ModelProto(ir_version=source.IrVersion(), graph=_read_graph(source.Graph()))
    for row in _each(source, "OpsetImport"):
        model.opset_import.add(domain=_text(row.Domain()), version=row.Version())
    if source.MetadataPropsLength():
        onnx.helper.set_model_props(
            model, {_text(row.Key()): _text(row.Value()) for row in _each(source, "MetadataProps")}
        )
    read = ir.from_proto(model)
    for graph in read.graphs():
        graph.sort()
    return read


def _reader(name: str) -> Any:
    """The generated module of one table; its modules import each other by a name that needs the folder on the path."""
    sys.path.insert(0, str(_FOLDER))
    try:
        return importlib.import_module(f"ort_flatbuffers_py.fbs.{name}")
    finally:
        sys.path.remove(str(_FOLDER))


def _read_graph(source: Any) -> onnx.GraphProto:
    graph = onnx.GraphProto(name="graph")
    types = {_text(v.Name()): v for v in _each(source, "NodeArgs")}
    stored = [_read_tensor(t) for t in _each(source, "Initializers")]
    known = {t.name for t in stored}
    graph.initializer.extend(stored)
    for name in _texts(source, "Inputs"):
        graph.input.append(_read_value(name, types.get(name)))
    for name in _texts(source, "Outputs"):
        graph.output.append(_read_value(name, types.get(name)))
    made = known | {v.name for v in graph.input}
    for node in _each(source, "Nodes"):
        made |= set(_texts(node, "Outputs"))
        graph.node.append(_read_node(node))
    shown = {v.name for v in (*graph.input, *graph.output)}
    graph.value_info.extend(_read_value(n, v) for n, v in types.items() if n and n in made - shown - known)
    return graph


def _read_node(source: Any) -> onnx.NodeProto:
    node = onnx.NodeProto(
        name=_text(source.Name()), op_type=_text(source.OpType()), domain=_text(source.Domain()),
        input=_texts(source, "Inputs"), output=_texts(source, "Outputs"),
    )  # fmt: skip
    for row in _each(source, "Attributes"):
        attribute = node.attribute.add(name=_text(row.Name()), type=row.Type())
        if row.Type() in _SCALARS:
            name, getter = _SCALARS[row.Type()]
            setattr(attribute, name, getattr(row, getter)())
        elif row.Type() in _LISTS:
            name, getter = _LISTS[row.Type()]
            getattr(attribute, name).extend(getattr(row, getter)(i) for i in range(getattr(row, f"{getter}Length")()))
        elif row.Type() == onnx.AttributeProto.TENSOR:
            attribute.t.CopyFrom(_read_tensor(row.T()))
        elif row.Type() == onnx.AttributeProto.GRAPH:
            attribute.g.CopyFrom(_read_graph(row.G()))
        elif row.Type() == onnx.AttributeProto.TENSORS:
            attribute.tensors.extend(_read_tensor(t) for t in _each(row, "Tensors"))
        else:
            attribute.graphs.extend(_read_graph(g) for g in _each(row, "Graphs"))
    return node


def _read_tensor(source: Any) -> onnx.TensorProto:
    tensor = onnx.TensorProto(
        name=_text(source.Name()),
        data_type=source.DataType(),
        dims=[source.Dims(i) for i in range(source.DimsLength())],
    )
    if source.DataType() == onnx.TensorProto.STRING:
        tensor.string_data.extend(source.StringData(i) for i in range(source.StringDataLength()))
    elif source.ExternalDataOffset() < 0:
        tensor.raw_data = source.RawDataAsNumpy().tobytes() if source.RawDataLength() else b""
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="data beside the .ort file")
    return tensor


def _read_value(name: str, source: Any) -> onnx.ValueInfoProto:
    value = onnx.ValueInfoProto(name=name)
    kind = None if source is None else source.Type()
    if kind is None or kind.ValueType() != _reader("TypeInfoValue").TypeInfoValue.tensor_type:
        return value
    tensor = _reader("TensorTypeAndShape").TensorTypeAndShape()
    tensor.Init(kind.Value().Bytes, kind.Value().Pos)
    value.type.tensor_type.elem_type = tensor.ElemType()
    if tensor.Shape() is not None:
        value.type.tensor_type.shape.SetInParent()
        for row in _each(tensor.Shape(), "Dim"):
            size, dim = row.Value(), value.type.tensor_type.shape.dim.add()
            if size is not None and size.DimType() == 1:
                dim.dim_value = size.DimValue()
            elif size is not None and size.DimType() == 2:
                dim.dim_param = _text(size.DimParam())
    return value


def _each(source: Any, name: str) -> list[Any]:
    return [getattr(source, name)(i) for i in range(getattr(source, f"{name}Length")())]


def _texts(source: Any, name: str) -> list[str]:
    return [_text(t) for t in _each(source, name)]


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
