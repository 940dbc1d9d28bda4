"""The part of a file that decides, cut out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from rr_export.lowering import TAKEN
from survival.engines import open_file
from survival.reference import serialized


@dataclass(frozen=True)
class Part:
    """The part of a file that decides, as a model of its own.

    Attributes:
        content: the model.
        inputs: the file's inputs that it has.
        noise: name and numpy type of the random numbers, where they are an input of it.
    """

    content: bytes
    inputs: tuple[str, ...]
    noise: tuple[str, np.dtype[Any]] | None = None


def routing_part(content: Path | bytes, *, from_random: bool = False) -> Part | None:
    """Returns what decides, from the file's inputs or from its random numbers on; None where it cannot be cut out."""
    if isinstance(content, Path) and content.suffix != ".onnx":
        return None
    try:
        model = ir.from_proto(onnx.load_from_string(content)) if isinstance(content, bytes) else ir.load(content)
        part = _cut_from(model, _random_value(model.graph) if from_random else None)
        open_file(part.content, "onnxruntime")
    except Exception:  # whatever a tool wrote that cannot be cut: the whole file is sampled then
        return None
    return part


def _random_value(graph: ir.Graph) -> ir.Value:
    (node,) = [n for n in graph if n.op_type == "RandomUniformLike"]
    value = node.outputs[0]
    value.dtype = ir.DataType(node.attributes["dtype"].as_int())
    return value


def _cut_from(model: ir.Model, noise: ir.Value | None) -> Part:
    graph = model.graph
    taken = next(v for v in graph.outputs if v.name == TAKEN)
    needed = _sources(taken, noise)
    inputs = tuple(v.name for v in graph.inputs if v in needed and v.name and v.name not in graph.initializers)
    given = [] if noise is None else [noise.name or ""]
    cut = ir.convenience.extract(graph, [*inputs, *given], [TAKEN])
    cut.opset_imports.update(graph.opset_imports)
    read = None
    if noise is not None and noise.dtype is not None:
        (value,) = [v for v in cut.inputs if v.name == noise.name]
        value.type = ir.TensorType(noise.dtype)
        read = (given[0], noise.dtype.numpy())
    content = serialized(ir.Model(cut, ir_version=model.ir_version, functions=list(model.functions.values())))
    return Part(content, inputs, read)


def _sources(value: ir.Value, stop: ir.Value | None) -> set[ir.Value]:
    """All values that a value depends on, without looking behind ``stop``."""
    found: set[ir.Value] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        if value not in found:
            found.add(value)
            producer = None if value is stop else value.producer()
            todo += [] if producer is None else [v for v in producer.inputs if v is not None]
    return found
