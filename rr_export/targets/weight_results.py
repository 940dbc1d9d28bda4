"""Results that are weights get a node that makes them.

before:  body { w } -> w
after:   body { w; Identity(w) -> y } -> y
"""

from __future__ import annotations

import onnx_ir as ir


def make_all_results(model: ir.Model) -> bool:
    """Every result of the main graph, whose outputs keep their names, and of every body is made by a node of it."""
    bodies = [
        attribute.as_graph()
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
    ]
    changed = [make_results(model.graph, keep_names=True)]
    changed += [make_results(body, keep_names=False) for body in bodies]
    return any(changed)


def make_results(graph: ir.Graph, *, keep_names: bool) -> bool:
    """Every result of the graph is made by a node of it; returns whether anything changed.

    Tools and engines do not expect outputs that are initializers; a program has no step that would give them.

    Args:
        graph: the main graph, or a body.
        keep_names: the new results take the names of the weights, as outputs of a model must.
    """
    changed = False
    for index, value in enumerate(graph.outputs):
        if not value.is_initializer():
            continue
        node = ir.node("Identity", [value])
        made = node.outputs[0]
        made.type, made.shape = value.type, value.shape
        graph.append(node)
        graph.outputs[index] = made
        if keep_names:
            made.name, value.name = value.name, f"{value.name}.constant"
        changed = True
    return changed
