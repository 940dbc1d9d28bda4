"""Adds nodes and constants in front of a graph, each under a readable name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike, NDArray


class Builder:
    """Collects the nodes of the routing prelude for one graph, in order."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.nodes: list[ir.Node] = []

    def op(self, op_type: str, inputs: Sequence[ir.Value], **attributes: Any) -> ir.Value:
        """Returns the only output of a new node."""
        return self.ops(op_type, inputs, 1, **attributes)[0]

    def ops(self, op_type: str, inputs: Sequence[ir.Value], outputs: int, **attributes: Any) -> Sequence[ir.Value]:
        """Returns the outputs of a new node."""
        name = f"rr/{len(self.nodes)}_{op_type}"
        node = ir.node(op_type, list(inputs), attributes, num_outputs=outputs, name=name)
        for i, value in enumerate(node.outputs):
            value.name = f"{name}:{i}" if outputs > 1 else name
        self.nodes.append(node)
        return node.outputs

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """Returns an initializer of the graph that holds ``array``; equal arrays of one name are stored once."""
        key = f"rr/{name}"
        number = 0
        while key in self.graph.initializers:
            known = self.graph.initializers[key].const_value
            if known is not None and known.dtype.numpy() == array.dtype and np.array_equal(known.numpy(), array):
                return self.graph.initializers[key]
            number += 1
            key = f"rr/{name}.{number}"
        value = ir.Value(name=key, const_value=ir.tensor(array, name=key))
        value.type, value.shape = ir.TensorType(ir.DataType.from_numpy(array.dtype)), ir.Shape(array.shape)
        self.graph.register_initializer(value)
        return value

    def graph_input(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> ir.Value:
        """Returns a new required input of the graph."""
        data_type = ir.DataType.from_numpy(np.dtype(dtype))
        value = ir.Value(name=name, type=ir.TensorType(data_type), shape=ir.Shape(shape))
        self.graph.inputs.append(value)
        return value
