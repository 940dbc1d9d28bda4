"""Weights in another layout: stored ones are laid out here, once; those that the model computes, by nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Known = dict[tuple[str, tuple[ir.Value, ...]], ir.Value]


class WeightLayout:
    """Makes nodes and weights for what one marker stands for.

    Args:
        graph: the flat graph.
        marker: nodes go in front of it, and belong where it does.
        known: what was laid out before, by how, and of which weights.
    """

    def __init__(self, graph: ir.Graph, marker: ir.Node, known: Known) -> None:
        self._graph, self._marker, self._known, self._named = graph, marker, known, 0

    def name(self) -> str:
        """Returns a name that no other value has."""
        self._named += 1
        return f"{self._marker.outputs[0].name}/{self._named}"

    def node(self, op_type: str, inputs: Sequence[ir.Value | None], outputs: int = 1, **options: Any) -> ir.Node:
        """Returns a new node in front of the marker."""
        node = ir.node(op_type, inputs, {k: v for k, v in options.items() if v is not None}, num_outputs=outputs)
        node.metadata_props.update(self._marker.metadata_props)
        for value in node.outputs:
            value.name = self.name()
        self._graph.insert_before(self._marker, node)
        return node

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **options: Any) -> ir.Value:
        """Returns the only output of a new node in front of the marker."""
        return self.node(op_type, inputs, **options).outputs[0]

    def constant(self, array: NDArray[Any]) -> ir.Value:
        """Returns a constant."""
        return self.op("Constant", [], value=ir.tensor(array))

    def stacked(self, directions: Sequence[Sequence[ir.Value]], order: Sequence[int]) -> ir.Value:
        """Returns weights [directions, gates * ..]: those of a direction follow each other, gates in this order."""
        parts = [value for direction in directions for value in direction]
        each = len(directions[0])

        def arranged(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
            gates = [np.split(array, len(order)) for array in arrays]
            ordered = [np.concatenate([split[i] for i in order]) for split in gates]
            return np.stack([np.concatenate(ordered[i : i + each]) for i in range(0, len(ordered), each)])

        def computed() -> ir.Value:
            rows = [gate for value in parts for gate in self._ordered(value, order)]
            per = len(rows) // len(directions)
            joined = [self.op("Concat", rows[i : i + per], axis=0) for i in range(0, len(rows), per)]
            axis = self.constant(np.array([0]))
            return self.op("Concat", [self.op("Unsqueeze", [value, axis]) for value in joined], axis=0)

        return self._made("stacked", parts, arranged, computed)

    def transposed(self, weight: ir.Value) -> ir.Value:
        """Returns a matrix with its axes exchanged."""
        return self._made(
            "transposed", [weight], lambda arrays: arrays[0].T.copy(), lambda: self.op("Transpose", [weight])
        )

    def _ordered(self, value: ir.Value, order: Sequence[int]) -> list[ir.Value]:
        if len(order) == 1:
            return [value]
        gates = self.node("Split", [value], outputs=len(order), axis=0, num_outputs=len(order)).outputs
        return [gates[i] for i in order]

    def _made(
        self,
        how: str,
        parts: Sequence[ir.Value],
        arranged: Callable[[Sequence[NDArray[Any]]], NDArray[Any]],
        computed: Callable[[], ir.Value],
    ) -> ir.Value:
        """What ``arranged`` makes of stored weights, as one stored weight; of others what ``computed`` gives."""
        stored = [value.const_value for value in parts if value.const_value is not None]
        if len(stored) < len(parts):
            return computed()
        key = how, tuple(parts)
        if key not in self._known:
            array = arranged([tensor.numpy() for tensor in stored])
            name, number = f"{parts[0].name}/{how}", 1
            while name in self._graph.initializers:
                name, number = f"{parts[0].name}/{how}.{number}", number + 1
            value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
            value.type, value.shape = parts[0].type, ir.Shape(array.shape)
            self._graph.register_initializer(value)
            self._known[key] = value
        return self._known[key]
