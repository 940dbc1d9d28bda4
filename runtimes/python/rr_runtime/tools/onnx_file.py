"""Reads the nodes of an .onnx file, with their names, subgraphs and metadata, without the package onnx.

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
MODEL_GRAPH, GRAPH_NODE = 7, 1
NODE_NAME, NODE_OP, NODE_ATTRIBUTE, NODE_METADATA = 3, 4, 5, 9
ATTRIBUTE_NAME, ATTRIBUTE_GRAPH = 1, 6
ENTRY_KEY, ENTRY_VALUE = 1, 2


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        name: its name.
        op: its operator.
        metadata: what its metadata_props say.
        graphs: the nodes of its subgraphs, by attribute.
    """

    name: str
    op: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    graphs: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)


def read_nodes(file: Path) -> tuple[Node, ...]:
    """Returns the nodes of the main graph of an .onnx file.

    Raises:
        BundleError: the file is no ONNX model, or is cut short.
    """
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _model(mapped)
    except (OSError, ValueError, IndexError, RecursionError) as error:
        raise BundleError(f"{file}: expected an ONNX model, got {error or 'a damaged one'}; export it again") from error


def _model(data: mmap.mmap) -> tuple[Node, ...]:
    for number, start, end in _fields(data, 0, len(data)):
        if number == MODEL_GRAPH:
            return _graph(data, start, end)
    raise ValueError("no graph")


def _graph(data: mmap.mmap, start: int, end: int) -> tuple[Node, ...]:
    return tuple(_node(data, a, b) for number, a, b in _fields(data, start, end) if number == GRAPH_NODE)


def _node(data: mmap.mmap, start: int, end: int) -> Node:
    texts = {NODE_NAME: "", NODE_OP: ""}
    metadata: dict[str, str] = {}
    graphs: dict[str, tuple[Node, ...]] = {}
    for number, a, b in _fields(data, start, end):
        if number in texts:
            texts[number] = _text(data, a, b)
        elif number == NODE_METADATA:
            entry = {n: _text(data, c, d) for n, c, d in _fields(data, a, b)}
            metadata[entry.get(ENTRY_KEY, "")] = entry.get(ENTRY_VALUE, "")
        elif number == NODE_ATTRIBUTE:
            graphs.update(_attribute(data, a, b))
    return Node(texts[NODE_NAME], texts[NODE_OP], metadata, graphs)


def _attribute(data: mmap.mmap, start: int, end: int) -> dict[str, tuple[Node, ...]]:
    """The nodes of an attribute that is a graph, by its name; {} for every other attribute."""
    name, graph = "", None
    for number, a, b in _fields(data, start, end):
        if number == ATTRIBUTE_NAME:
            name = _text(data, a, b)
        elif number == ATTRIBUTE_GRAPH:
            graph = _graph(data, a, b)
    return {} if graph is None else {name: graph}


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of every field that has a length; numbers are stepped over."""
    while start < end:
        key, start = _varint(data, start)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            _, start = _varint(data, start)
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
