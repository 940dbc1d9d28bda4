"""What values inside a file are in a run: they are led out of the branches that they are computed in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.parity.executed import LEVELS, proving_options

AT_ONCE = 64  # values that are in memory at the same time


@dataclass(frozen=True)
class Intermediate:
    """A value inside a file.

    Attributes:
        name: of the value.
        node: what computes it.
        around: the ``If`` nodes around that, from the outside in.
    """

    name: str
    node: ir.Node
    around: tuple[ir.Node, ...]


def intermediates(model: ir.Model) -> list[Intermediate]:
    """Returns all tensors that nodes of the main graph and of branches compute, in the order in which they run.

    Bodies of loops count as one node.
    """
    return list(_within(model.graph, ()))


def values_in_runs(
    model: ir.Model, values: Sequence[Intermediate], feeds: dict[str, NDArray[Any]]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields the values by name, a few at a time, in their order; those of branches not taken have no elements.

    Args:
        model: the model, which is not changed.
        values: some of its intermediates, of types that are known.
        feeds: what it is fed.
    """
    copy = model.clone()
    found = {v.name: v for node in copy.graph.all_nodes() for v in node.outputs}
    owners = {body: node for node in copy.graph.all_nodes() for body in bodies(node)}
    led = {value.name: led_out(found[value.name], owners) for value in values}
    copy.graph.outputs.extend(value for value in led.values() if not value.is_graph_output())
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "values.onnx"
        ir.save(copy, file, external_data="values.bin")
        options = proving_options(LEVELS["disabled"])
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        names = list(led)
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            arrays = session.run([led[name].name for name in some], feeds)
            yield dict(zip(some, map(np.asarray, arrays), strict=True))


def led_out(value: ir.Value, owners: dict[ir.Graph, ir.Node]) -> ir.Value:
    """Returns the value of the main graph that hands a value on; the other branches around it hand on nothing.

    Args:
        value: of the main graph, or of a branch.
        owners: the node of every body.
    """
    assert value.type is not None and value.dtype is not None
    node = value.producer()
    while node is not None and isinstance(node.graph, ir.Graph) and node.graph in owners:
        owner = owners[node.graph]
        for branch in bodies(owner):
            nothing = {"value": ir.tensor(np.zeros(0, value.dtype.numpy()))}
            handed = ir.node("Identity", [value]) if branch is node.graph else ir.node("Constant", [], nothing)
            handed.outputs[0].name, handed.outputs[0].type = f"{value.name}/{branch.name}", value.type
            branch.append(handed)
            branch.outputs.append(handed.outputs[0])
        owner.resize_outputs(len(owner.outputs) + 1)
        result = owner.outputs[-1]
        result.name, result.type = f"{value.name}/out", value.type
        value, node = result, owner
    return value


def bodies(node: ir.Node) -> list[ir.Graph]:
    """Returns the graphs inside a node."""
    return [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def _within(graph: ir.Graph, around: tuple[ir.Node, ...]) -> Iterator[Intermediate]:
    for node in graph:
        if node.op_type == "If":
            for side in ("then_branch", "else_branch"):
                yield from _within(node.attributes[side].as_graph(), (*around, node))
        for value in node.outputs:
            if value.name and value.dtype is not None and value.type is not None:
                yield Intermediate(value.name, node, around)
