from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from rr_export.passes.unique_names import name_uniquely, shared_names


def model() -> ir.Model:
    """A body, and a value after it, that share a name; two nodes that share one; a value without one."""
    x, c = (ir.Value(name=n, shape=ir.Shape([])) for n in ("x", "c"))
    x.type, c.type = ir.TensorType(ir.DataType.FLOAT), ir.TensorType(ir.DataType.BOOL)
    bodies = []
    for op in ("Neg", "Abs"):
        inner = ir.node(op, [x], name="inner")
        inner.outputs[0].name = "a"
        inner.outputs[0].type, inner.outputs[0].shape = x.type, x.shape
        bodies.append(ir.Graph([], inner.outputs, nodes=[inner], name=op))
    choice = ir.node("If", [c], {"then_branch": bodies[0], "else_branch": bodies[1]}, name="inner")
    after = ir.node("Exp", [choice.outputs[0]], name="after")
    last = ir.node("Sqrt", [after.outputs[0]], name="after")
    after.outputs[0].name, last.outputs[0].name = "a", "x_1"
    last.outputs[0].type, last.outputs[0].shape = x.type, x.shape
    graph = ir.Graph([x, c], last.outputs, nodes=[choice, after, last], opset_imports={"": 20}, name="main")
    return ir.Model(graph, ir_version=9)


def loads(made: ir.Model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(ir.serde.serialize_model(made).SerializeToString())


def test_values_and_nodes_have_names_of_their_own() -> None:
    made = model()
    assert shared_names(made) == ["a"]
    assert name_uniquely(made)
    assert shared_names(made) == []
    nodes = [node.name for node in ir.traversal.RecursiveGraphIterator(made.graph)]
    assert len(set(nodes)) == len(nodes) == 5
    assert ([v.name for v in made.graph.inputs], [v.name for v in made.graph.outputs]) == (["x", "c"], ["x_1"])
    assert not name_uniquely(made)
    (found,) = loads(made).run(None, {"x": np.array(-2, np.float32), "c": np.array(True)})
    assert found == pytest.approx(np.sqrt(np.exp(2)))


def test_sabotage_shared_names_do_not_load() -> None:
    made = model()
    for number, node in enumerate(made.graph):
        node.name = f"node {number}"
    made.graph.inputs[0].name = "a"
    with pytest.raises(Exception, match="Duplicate definition of name"):
        loads(made)
