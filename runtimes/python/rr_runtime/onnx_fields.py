"""What a model file says about other files and itself, read off its bytes before an engine loads it.

The file is walked as protobuf's wire format (https://protobuf.dev/programming-guides/encoding/): fields are skipped by
their lengths, so that weights are not read. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

Bytes = bytes | mmap.mmap
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

# Message -> number of a field -> message in it: the ways to every tensor.
_BELOW: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # of a tensor
_KEY, _VALUE = 1, 2  # of an entry
_METADATA = 14  # of a model


def external_files(file: Path) -> dict[str, set[str]]:
    """Returns the names of the files that the tensors of an ONNX model lie in, as the model says them.

    For each, what its tensors say of its SHA-1 (``checksum``, hexadecimal digits): nothing, or one text, where a model
    is whole.

    Raises:
        ValueError: it is no protobuf.
    """
    found: dict[str, set[str]] = {}
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            return found
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for entry in _external_data(data) if data.find(b"location") >= 0 else ():
                found.setdefault(entry["location"], set()).update({entry["checksum"]} if "checksum" in entry else ())
    return found


def largest_metadata(file: Path) -> int:
    """Returns the size of the largest entry of a model's metadata in bytes; 0 where there is none.

    Raises:
        ValueError: it is no protobuf.
    """
    with file.open("rb") as stream:
        if file.stat().st_size == 0:
            return 0
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _fields(data, 0, len(data))
            return max((end - start for number, start, end in found if number == _METADATA), default=0)


def _external_data(data: Bytes) -> Iterator[dict[str, str]]:
    todo = [("model", 0, len(data))]
    while todo:
        message, start, end = todo.pop()
        if message == "tensor":
            entry = _of_tensor(data, start, end)
            if "location" in entry:
                yield entry
            continue
        below = _BELOW[message]
        todo += [(below[number], at, to) for number, at, to in _fields(data, start, end) if number in below]


def _of_tensor(data: Bytes, start: int, end: int) -> dict[str, str]:
    """What a tensor says of the file that it lies in; nothing where it lies in the model."""
    fields = list(_fields(data, start, end))
    if not any(number == _DATA_LOCATION and at == _EXTERNAL for number, at, _ in fields):
        return {}
    told: dict[str, str] = {}
    for _, at, to in (field for field in fields if field[0] == _EXTERNAL_DATA):
        entry = {number: data[a:b].decode(errors="backslashreplace") for number, a, b in _fields(data, at, to)}
        told[entry.get(_KEY, "")] = entry.get(_VALUE, "")
    return told


def _fields(data: Bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields for every field of a message its number, and where its bytes begin and end; of a number, it and 0."""
    while start < end:
        tag, start = _varint(data, start)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, start = _varint(data, start)
            yield number, value, 0
            continue
        if wire == _BYTES:
            size, start = _varint(data, start)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"expected a field of protobuf at byte {start}, got wire type {wire}")
        if start + size > end:
            raise ValueError(f"expected a field that ends before byte {end}, got one up to {start + size}")
        yield number, start, start + size
        start += size


def _varint(data: Bytes, at: int) -> tuple[int, int]:
    """Returns the number at a place and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"expected a number of at most ten bytes before byte {at}, got none")
