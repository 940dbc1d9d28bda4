"""Reads nodes, subgraphs and the sizes of weights from an .onnx file, without the package onnx.

An ONNX file is a protocol buffer: fields of a number and a wire type, of which only those below are looked at. The file
is mapped, so that weights inside it are stepped over and never read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rr_runtime.errors import BundleError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
# Numbers of fields in onnx.proto.
MODEL_GRAPH, GRAPH_NODE, GRAPH_INITIALIZER = 7, 1, 5
NODE_INPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE, NODE_METADATA = 1, 3, 4, 5, 9
TENSOR_DIMS, TENSOR_NAME = 1, 8
ATTRIBUTE_NAME, ATTRIBUTE_GRAPH = 1, 6
ENTRY_KEY, ENTRY_VALUE = 1, 2


@dataclass(frozen=True)
class OnnxNode:
    """A node of a graph.

    Attributes:
        name: its name.
        op: its operator.
        inputs: the names of the values that it takes.
        metadata: what its metadata_props say.
        graphs: its subgraphs, by attribute.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    graphs: Mapping[str, OnnxGraph] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxGraph:
    """A graph: its nodes, and the numbers of elements of its weights, by name."""

    nodes: tuple[OnnxNode, ...]
    weights: Mapping[str, int] = field(default_factory=dict)

    def all_nodes(self) -> Iterator[OnnxNode]:
        """Yields every node, those of subgraphs included."""
        for node in self.nodes:
            yield node
            for graph in node.graphs.values():
                yield from graph.all_nodes()


def read_graph(file: Path) -> OnnxGraph:
    """Returns the main graph of an .onnx file.

    Raises:
        BundleError: the file is no ONNX model, or is cut short.
    """
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _model(mapped)
    except (OSError, ValueError, IndexError, RecursionError) as error:
        raise BundleError(f"{file}: expected an ONNX model, got {error or 'a damaged one'}; export it again") from error


def _model(data: mmap.mmap) -> OnnxGraph:
    graphs = [_graph(data, a, b) for number, a, b in _fields(data, 0, len(data)) if number == MODEL_GRAPH]
    if not graphs:
        raise ValueError("a file without a graph")
    return graphs[-1]  # as protocol buffers have it, the last one counts


def _graph(data: mmap.mmap, start: int, end: int) -> OnnxGraph:
    nodes: list[OnnxNode] = []
    weights: dict[str, int] = {}
    for number, a, b in _fields(data, start, end):
        if number == GRAPH_NODE:
            nodes.append(_node(data, a, b))
        elif number == GRAPH_INITIALIZER:
            weights.update(_weight(data, a, b))
    return OnnxGraph(tuple(nodes), weights)


def _weight(data: mmap.mmap, start: int, end: int) -> dict[str, int]:
    """The number of elements of a tensor, by its name; sizes come packed or one by one."""
    name, elements = "", 1
    for number, a, b in _fields(data, start, end, singly=TENSOR_DIMS):
        if number == TENSOR_NAME:
            name = _text(data, a, b)
        elif number == TENSOR_DIMS:
            while a < b:
                size, a = _varint(data, a)
                elements *= size
    return {name: elements}


def _node(data: mmap.mmap, start: int, end: int) -> OnnxNode:
    texts = {NODE_NAME: "", NODE_OP: ""}
    inputs: list[str] = []
    metadata: dict[str, str] = {}
    graphs: dict[str, OnnxGraph] = {}
    for number, a, b in _fields(data, start, end):
        if number in texts:
            texts[number] = _text(data, a, b)
        elif number == NODE_INPUT:
            inputs.append(_text(data, a, b))
        elif number == NODE_METADATA:
            entry = {n: _text(data, c, d) for n, c, d in _fields(data, a, b)}
            metadata[entry.get(ENTRY_KEY, "")] = entry.get(ENTRY_VALUE, "")
        elif number == NODE_ATTRIBUTE:
            graphs.update(_attribute(data, a, b))
    return OnnxNode(texts[NODE_NAME], texts[NODE_OP], tuple(inputs), metadata, graphs)


def _attribute(data: mmap.mmap, start: int, end: int) -> dict[str, OnnxGraph]:
    """The graph of an attribute, by its name; {} for an attribute that is none."""
    name, graph = "", None
    for number, a, b in _fields(data, start, end):
        if number == ATTRIBUTE_NAME:
            name = _text(data, a, b)
        elif number == ATTRIBUTE_GRAPH:
            graph = _graph(data, a, b)
    return {} if graph is None else {name: graph}


def _fields(data: mmap.mmap, start: int, end: int, *, singly: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of every field that has a length; numbers are stepped over, but those ``singly``."""
    while start < end:
        key, start = _varint(data, start)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            begin = start
            _, start = _varint(data, start)
            if number == singly:
                yield number, begin, start
        elif wire in (FIXED64, FIXED32):
            start += 8 if wire == FIXED64 else 4
        elif wire == LENGTH:
            length, start = _varint(data, start)
            if start + length > end:
                raise ValueError("a file that is cut short")
            yield number, start, start + length
            start += length
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
        if shift > 63:
            raise ValueError("a number without an end")


def _text(data: mmap.mmap, start: int, end: int) -> str:
    return data[start:end].decode()
