"""Weights that one leaf alone uses move into it, where the leaf lies deeper than one ``If``, or in any ``If``.

before:  main { w; If { If { MatMul(x, w) } } }
after:   main { If { If { w; MatMul(x, w) } } }

ONNX Runtime prepacks captured weights only from the immediate parent; from further out they cost 1.2 times.
"""

from __future__ import annotations

import onnx_ir as ir


def place_weights(model: ir.Model, *, deeper_than: int = 1) -> bool:
    """Every weight of one deep leaf is an initializer of that leaf; returns whether anything moved.

    Args:
        model: a lowered model.
        deeper_than: how many ``If`` around a leaf do not make it deep; 0 for engines that take a branch only with all
            its weights.
    """
    users = weight_users(model)
    moved = False
    for value, graphs in users.items():
        if len(graphs) == 1 and graphs[0][1] > deeper_than:
            leaf, _ = graphs[0]
            assert value.name is not None
            del model.graph.initializers[value.name]
            leaf.register_initializer(value)
            moved = True
    return moved


def weight_users(model: ir.Model) -> dict[ir.Value, list[tuple[ir.Graph, int]]]:
    """Returns, for every weight of the main graph, the graphs that use it and how deep they lie (main: 0)."""
    depth: dict[ir.Graph, int] = {}

    def visit(graph: ir.Graph, level: int) -> None:
        depth[graph] = level
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    visit(attribute.as_graph(), level + 1)

    visit(model.graph, 0)
    users: dict[ir.Value, list[tuple[ir.Graph, int]]] = {}
    for value in model.graph.initializers.values():
        graphs = list(dict.fromkeys(usage.node.graph for usage in value.uses()))
        users[value] = [(g, depth[g]) for g in graphs if isinstance(g, ir.Graph) and g in depth]
    return users
