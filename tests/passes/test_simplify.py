"""What is folded, and what is not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from rr_export.passes.simplify import simplify


def parts(*ends: int) -> ir.Model:
    """Products with the first rows of one weight."""
    weight = ir.Value(name="w", const_value=ir.tensor(np.arange(32, dtype=np.float32).reshape(8, 4), name="w"))
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2, 4]))
    graph = ir.Graph([x], [], nodes=[], name="main", opset_imports={"": 20}, initializers=[weight])
    weight.type, weight.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([8, 4])
    for i, end in enumerate(ends):
        numbers = {f"from.{i}": 0, f"to.{i}": end}
        bounds = [ir.Value(name=name, const_value=ir.tensor([number], name=name)) for name, number in numbers.items()]
        for bound in bounds:
            graph.register_initializer(bound)
        part = ir.node("Slice", [weight, *bounds])
        turned = ir.node("Transpose", part.outputs, {"perm": [1, 0]})
        product = ir.node("MatMul", [x, turned.outputs[0]])
        product.outputs[0].name = f"y.{i}"
        product.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        graph.extend([part, turned, product])
        graph.outputs.append(product.outputs[0])
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(("ends", "stored"), [((2, 4, 8), 32), ((8, 4), 32), ((3,), 12)])
def test_parts_of_a_weight_are_stored_once(ends: tuple[int, ...], stored: int) -> None:
    model = parts(*ends)
    simplify(model)
    weights = [v.const_value for v in model.graph.initializers.values()]
    assert sum(w.size for w in weights if w is not None and w.dtype.is_floating_point()) == stored
