"""Which value of one graph is which of another: by what computes them, then by where they are used, then by name.

Names follow the order in which a model computes: two lines that change places exchange their names, and one more
operator of a kind renames all of that kind behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import onnx_ir as ir

from rr_export.bundle.site_keys import SITE_KEY
from rr_export.parity.intermediates import Intermediate, bodies, intermediates

ROUTING = "rr/"  # begins the names of what decides in a file


def paired_values(found: ir.Model, right: ir.Model) -> list[tuple[Intermediate, Intermediate]]:
    """Returns the pairs (of the one model, of the other) of values that play the same part, in the order of the first.

    Values that the same operators compute from the same inputs and weights, by the names of these, are pairs. From the
    outputs on, where one operator takes a pair, what is left of its inputs are pairs, whatever computes them. Of all
    others, values of one name are pairs. What decides is in no pair.
    """
    sides = [{_value(one): one for one in intermediates(model)} for model in (found, right)]
    one, other = ({v: i for v, i in side.items() if not i.name.startswith(ROUTING)} for side in sides)
    pairs = _Pairs()
    waiting: dict[bytes, list[ir.Value]] = {}
    for value, told in _computations(right, found):
        waiting.setdefault(told, []).append(value)
    for value, told in _computations(found, right):
        if waiting.get(told):
            pairs.add(value, waiting[told].pop(0))
    ends = {value.name: value for value in right.graph.outputs}
    pairs.follow([(value, ends[value.name]) for value in found.graph.outputs if value.name in ends])
    named = {i.name: v for v, i in other.items()}
    for value, i in one.items():
        if i.name in named:
            pairs.add(value, named[i.name])
    return [(i, other[pairs.of[v]]) for v, i in one.items() if pairs.of.get(v) in other]


class _Pairs:
    """Values of two graphs, each in one pair at most."""

    def __init__(self) -> None:
        self.of: dict[ir.Value, ir.Value] = {}
        self._taken: set[ir.Value] = set()

    def add(self, one: ir.Value, other: ir.Value) -> bool:
        """Returns whether neither was in a pair, and both are one now."""
        if one in self.of or other in self._taken:
            return False
        self.of[one] = other
        self._taken.add(other)
        return True

    def follow(self, ends: list[tuple[ir.Value, ir.Value]]) -> None:
        """These are pairs, and what is used alike to compute them."""
        while ends:
            one, other = ends.pop()
            nodes = one.producer(), other.producer()
            if not self.add(one, other) or nodes[0] is None or nodes[1] is None:
                continue
            if nodes[0].op_type != nodes[1].op_type:
                continue
            if nodes[0].op_type == "If":
                place = nodes[0].outputs.index(one), nodes[1].outputs.index(other)
                for side in zip(bodies(nodes[0]), bodies(nodes[1]), strict=True):
                    results = [body.outputs[j] for body, j in zip(side, place, strict=True) if j < len(body.outputs)]
                    ends += [(results[0], results[1])] if len(results) == 2 else []
                continue
            left = [v for v in nodes[0].inputs if v is not None and v.producer() is not None and v not in self.of]
            rest = [v for v in nodes[1].inputs if v is not None and v.producer() is not None and v not in self._taken]
            ends += zip(left, rest, strict=True) if len(left) == len(rest) else []


def _value(told: Intermediate) -> ir.Value:
    return next(value for value in told.node.outputs if value.name == told.name)


def _computations(model: ir.Model, other: ir.Model) -> Iterator[tuple[ir.Value, bytes]]:
    """Yields every value with what tells how it is computed: alike in both models, where they compute alike."""
    stored = [{v.name: v for g in m.graphs() for v in g.initializers.values()} for m in (model, other)]
    known: dict[ir.Value | None, bytes] = {None: b""}
    for name, value in stored[0].items():
        partner = stored[1].get(name)
        shared = partner is not None and (partner.shape, partner.dtype) == (value.shape, value.dtype)
        content = value.const_value.tobytes() if not shared and value.const_value is not None else b""
        known[value] = _digest("weight", name if shared else "", content)
    yield from _of_graph(model.graph, known)


def _of_graph(graph: ir.Graph, known: dict[ir.Value | None, bytes]) -> Iterator[tuple[ir.Value, bytes]]:
    known |= {value: _digest("input", value.name) for value in graph.inputs}
    for node in graph:
        parts: list[object] = [node.domain, node.op_type]
        for body in bodies(node):
            yield from _of_graph(body, known)
            parts += [known[value] for value in body.outputs]
        for name, attribute in sorted(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR:
                parts += [name, attribute.as_tensor().tobytes()]
            elif attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
                parts += [name, attribute.value]
        decides = node.op_type == "If" and SITE_KEY in node.metadata_props
        parts += [node.metadata_props[SITE_KEY]] if decides else [known.get(value, b"?") for value in node.inputs]
        whole = _digest(*parts)
        for number, value in enumerate(node.outputs):
            known[value] = _digest(whole, number)
            yield value, known[value]


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
