"""Where weights lie: inside the models, or all in one file beside them, each stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import onnx
import onnx_ir as ir

from rr_export.passes.share_weights import copy_shared_weights

INLINE_BELOW = 1024  # bytes; smaller tensors stay in the model file
PAGE = 4096  # bytes; large tensors start on a page, so that they can be mapped
EXTERNAL_ABOVE = 1_500_000_000  # bytes of weights, from which they get a file of their own; protobuf ends at 2 GiB


class WeightFile:
    """A file of weights that several models share; equal bytes are stored once, whichever model they come from.

    Args:
        file: the file, which is written while models are externalized, until the block ends.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._out = file, file.open("wb")
        self._places: dict[int, tuple[int, ir.TensorProtocol]] = {}  # by identity; the tensors stay alive
        self._contents: dict[bytes, int] = {}
        self._sha1 = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The file is complete; it is gone where nothing is in it."""
        self._out.close()
        if not self._contents:
            self._file.unlink()
            return
        with self._file.open("rb") as stream:
            self._sha1 = hashlib.file_digest(stream, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()

    def externalized(self, model: ir.Model) -> ir.Model:
        """Returns a copy of the model whose large tensors are in the file; the model keeps its own."""
        model = model.clone()  # shares the tensors, so that only the copy points into the file
        copy_shared_weights(model)
        for value in sorted(initializers(model), key=_is_small):  # large ones first: less padding between pages
            tensor = value.const_value
            if tensor is None or tensor.nbytes < INLINE_BELOW or tensor.dtype == ir.DataType.STRING:
                continue
            value.const_value = ir.ExternalTensor(
                self._file.name,
                self._offset(tensor),
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
            )
        return model

    def serialized(self, model: ir.Model) -> bytes:
        """Returns the bytes of a model that was externalized, after the block: its tensors tell the file's SHA-1."""
        made = ir.to_proto(model)
        for tensor in _stored(made.graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                tensor.external_data.add(key="checksum", value=self._sha1)
        return bytes(made.SerializeToString())

    def _offset(self, tensor: ir.TensorProtocol) -> int:
        known = self._places.get(id(tensor))
        if known is None:
            content = tensor.tobytes()
            digest = hashlib.sha256(content).digest()
            if digest not in self._contents:
                self._out.write(b"\0" * (-self._out.tell() % (PAGE if tensor.nbytes >= PAGE else 64)))
                self._contents[digest] = self._out.tell()
                self._out.write(content)
            known = self._places[id(tensor)] = self._contents[digest], tensor
        return known[0]


def _stored(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yields the initializers of a graph and of every body in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _stored(body)


def inlined(model: ir.Model) -> ir.Model:
    """Returns the model with all weights inside, read from where they lie."""
    if not any(isinstance(v.const_value, ir.ExternalTensor) for v in initializers(model)):
        return model
    model = model.clone()
    read: dict[int, ir.TensorProtocol] = {}
    for value in initializers(model):
        if isinstance(value.const_value, ir.ExternalTensor):
            tensor = value.const_value
            value.const_value = read.setdefault(id(tensor), ir.tensor(tensor.numpy().copy(), name=value.name))
    return model


def weight_bytes(model: ir.Model) -> int:
    """Returns the size of all weights in bytes, shared ones counted once."""
    return sum(
        {id(v.const_value): v.const_value.nbytes for v in initializers(model) if v.const_value is not None}.values()
    )


def shared_with_torch(model: ir.Model) -> dict[str, bytes]:
    """Returns, by name, what tells the numbers of the weights that still are the memory of a torch model."""
    found = {}
    for value in initializers(model):
        tensor = value.const_value
        if hasattr(getattr(tensor, "raw", None), "untyped_storage"):
            found[value.name or ""] = _digest(tensor)
    return found


def _digest(tensor: ir.TensorProtocol | None) -> bytes:
    array = np.ascontiguousarray(tensor.numpy()) if tensor is not None else np.empty(0)
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).digest()


def initializers(model: ir.Model) -> Iterator[ir.Value]:
    """Yields the initializers of the main graph and of every body."""
    seen: set[int] = set()
    graphs = [model.graph, *(n.graph for n in ir.traversal.RecursiveGraphIterator(model.graph))]
    for graph in graphs:
        if isinstance(graph, ir.Graph) and id(graph) not in seen:
            seen.add(id(graph))
            yield from graph.initializers.values()


def _is_small(value: ir.Value) -> bool:
    return value.const_value is None or value.const_value.nbytes < PAGE
