"""Every value of a model has a name of its own, in its branches too: the one place that decides names.

before:  If { If { a; b } ; a }     (a body that comes first, and a value around it that comes later, share a name)
after:   If { If { a; b } ; a_1 }

Names of inputs, outputs and initializers stay; of other values that share one, all but the first get a number. ONNX
wants this of a graph with all that is in it, while a name of a branch may stand again in the branch beside it for most
engines; here it never does, so that a pass may move values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx_ir as ir


def name_uniquely(model: ir.Model) -> bool:
    """No two values, and no two nodes, of the model have one name; returns whether any name changed."""
    graphs = list(_graphs(model.graph))
    fixed = [v for g in graphs for v in (*g.inputs, *g.initializers.values())] + list(model.graph.outputs)
    values = [*fixed, *(v for g in graphs for node in g for v in node.outputs)]
    changed = _number(values, "value")
    return _number([node for g in graphs for node in g], "node") or changed


def shared_names(model: ir.Model) -> list[str]:
    """Returns the names that several values of a model have, sorted."""
    values = {id(v): v for g in _graphs(model.graph) for v in _made_in(g)}
    counts = Counter(v.name for v in values.values() if v.name)
    return sorted(name for name, count in counts.items() if count > 1)


def _made_in(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """The graph, then those in its nodes, from the outside in."""
    yield graph
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _graphs(attribute.as_graph())
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.as_graphs():
                    yield from _graphs(inner)


def _number(items: list[ir.Value] | list[ir.Node], kind: str) -> bool:
    """The items that share a name with one before them get a number."""
    taken = {item.name for item in items if item.name}
    seen: set[str] = set()
    named: set[int] = set()
    counts: Counter[str] = Counter()
    changed = False
    for item in items:
        if id(item) in named:
            continue
        named.add(id(item))
        if item.name and item.name not in seen:
            seen.add(item.name)
            continue
        stem = item.name or kind
        while True:
            counts[stem] += 1
            name = f"{stem}_{counts[stem]}"
            if name not in taken:
                break
        item.name = name
        taken.add(name)
        seen.add(name)
        changed = True
    return changed
