"""Values that depend on decisions, as reduced ordered decision diagrams with intervals on their edges.

A decision has an axis: [0, 1) for a uniform draw, [0, K) for one of K outcomes (outcome r is [r, r + 1)). A diagram is
a leaf, or a node that asks one decision in which interval it fell. Decisions are asked in the order of their numbers,
and no node has equal neighbours, so equal functions are one and the same diagram (Bryant 1986, with the intervals of
Strehl and Thiele 2000).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary


def _key(value: Any) -> Any:
    """What two values share that are one: the same object, or equal ones of one plain type."""
    if isinstance(value, bool | int | float | complex | str | bytes | range):
        return type(value), value
    if type(value) is tuple:
        return tuple, tuple(map(_key, value))
    return object, id(value)


class Leaf:
    """A value whatever was decided; one object for values of one plain type that are equal, or that are the same."""

    __slots__ = ("__weakref__", "value")
    value: Any

    def __new__(cls, value: Any) -> Leaf:
        """Returns the leaf of this value."""
        key = _key(value)
        found = _known_leaves.get(key)
        if found is None:
            found = super().__new__(cls)
            found.value = value
            _known_leaves[key] = found
        return found

    def __repr__(self) -> str:
        return f"Leaf({self.value!r})"


class Node:
    """Child i holds where the decision lies in [cuts[i - 1], cuts[i]); one object for equal nodes."""

    __slots__ = ("__weakref__", "children", "cuts", "decision")
    decision: int
    cuts: tuple[float, ...]
    children: tuple[Diagram, ...]

    def __new__(cls, decision: int, cuts: tuple[float, ...], children: tuple[Diagram, ...]) -> Node:
        """Returns the node with these children."""
        key = (decision, cuts, tuple(map(id, children)))
        found = _known_nodes.get(key)
        if found is None:
            found = super().__new__(cls)
            found.decision, found.cuts, found.children = decision, cuts, children
            _known_nodes[key] = found
        return found

    def __repr__(self) -> str:
        return f"Node({self.decision}, {self.cuts}, {self.children})"


_known_leaves: WeakValueDictionary[Any, Leaf] = WeakValueDictionary()
_known_nodes: WeakValueDictionary[Any, Node] = WeakValueDictionary()
Diagram = Leaf | Node
Span = tuple[float, float]  # least and first-not-included position of an interval; infinite at the ends of the axis
TRUE, FALSE = Leaf(True), Leaf(False)
_INFINITE = float("inf")


def same(a: Any, b: Any) -> bool:
    """Returns whether two values are one: the same object, or equal ones of one plain type."""
    return bool(_key(a) == _key(b))


def node(decision: int, cuts: Sequence[float], children: Sequence[Diagram]) -> Diagram:
    """Returns the diagram that asks ``decision``, reduced: equal neighbours become one."""
    kept_cuts: list[float] = []
    kept = [children[0]]
    for cut, child in zip(cuts, children[1:], strict=True):
        if child is not kept[-1]:
            kept_cuts.append(cut)
            kept.append(child)
    return Node(decision, tuple(kept_cuts), tuple(kept)) if kept_cuts else kept[0]


def spans(cuts: Sequence[float]) -> Iterator[Span]:
    """Yields the intervals between the cuts."""
    return itertools.pairwise((-_INFINITE, *cuts, _INFINITE))


def _child(diagram: Diagram, decision: int, position: float) -> Diagram:
    """What is left of ``diagram`` where ``decision`` lies just after or at ``position``."""
    if isinstance(diagram, Leaf) or diagram.decision != decision:
        return diagram
    return diagram.children[sum(cut <= position for cut in diagram.cuts)]


def _parts(diagrams: Sequence[Diagram]) -> tuple[int, list[float], list[list[Diagram]]]:
    """The first decision that any of the diagrams asks, all its cuts, and the diagrams in every interval."""
    nodes = [d for d in diagrams if isinstance(d, Node)]
    decision = min(d.decision for d in nodes)
    cuts = sorted({cut for d in nodes if d.decision == decision for cut in d.cuts})
    return decision, cuts, [[_child(d, decision, start) for d in diagrams] for start, _ in spans(cuts)]


def apply(function: Callable[..., Any], *diagrams: Diagram) -> Diagram:
    """Returns the diagram of ``function`` of the values of ``diagrams``; it is called once for every combination."""
    known: dict[tuple[int, ...], Diagram] = {}

    def walk(given: Sequence[Diagram]) -> Diagram:
        key = tuple(map(id, given))
        if key not in known:
            if all(isinstance(d, Leaf) for d in given):
                known[key] = Leaf(function(*(d.value for d in given if isinstance(d, Leaf))))
            else:
                decision, cuts, parts = _parts(given)
                known[key] = node(decision, cuts, [walk(part) for part in parts])
            alive.append(given)
        return known[key]

    alive: list[Sequence[Diagram]] = []  # ids stay theirs
    return walk(diagrams)


def both(a: Diagram, b: Diagram) -> Diagram:
    """Returns ``a and b``."""
    return apply(lambda p, q: p and q, a, b)


def either(a: Diagram, b: Diagram) -> Diagram:
    """Returns ``a or b``."""
    return apply(lambda p, q: p or q, a, b)


def choose(which: Diagram, outcomes: Sequence[Diagram]) -> Diagram:
    """Returns the diagram that is ``outcomes[k]`` where ``which`` has the value k."""
    if isinstance(which, Leaf):
        chosen: Diagram = outcomes[which.value]
        return chosen
    decision, cuts, parts = _parts((which, *outcomes))
    return node(decision, cuts, [choose(part[0], part[1:]) for part in parts])


def given(diagram: Diagram, guard: Diagram) -> Diagram:
    """Returns ``diagram`` where ``guard`` holds; elsewhere whatever makes it smallest."""
    found = _given(diagram, guard)
    assert found is not None
    return found


def _given(diagram: Diagram, guard: Diagram) -> Diagram | None:
    if guard is FALSE:
        return None
    if guard is TRUE or isinstance(diagram, Leaf):
        return diagram
    decision, cuts, parts = _parts((diagram, guard))
    children = [_given(*part) for part in parts]
    first = next(c for c in children if c is not None)
    for i, child in enumerate(children):
        children[i] = first = first if child is None else child
    return node(decision, cuts, [c for c in children if c is not None])


def leaves(diagram: Diagram) -> list[Any]:
    """Returns the different values, in the order of the diagram's intervals."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo: list[Diagram] = [diagram]
    while todo:
        here = todo.pop()
        if id(here) not in seen:
            seen.add(id(here))
            if isinstance(here, Leaf):
                found[id(here)] = here.value
            else:
                todo.extend(reversed(here.children))
    return list(found.values())


def paths(diagram: Diagram) -> Iterator[tuple[dict[int, Span], Leaf]]:
    """Yields every way through the diagram, as the intervals of the decisions it asks, with its leaf."""
    if isinstance(diagram, Leaf):
        yield {}, diagram
        return
    for span, child in zip(spans(diagram.cuts), diagram.children, strict=True):
        for way, leaf in paths(child):
            yield {diagram.decision: span, **way}, leaf


def nodes(diagram: Diagram) -> Iterator[tuple[Node, Diagram]]:
    """Yields every node with the condition under which it is asked."""
    if isinstance(diagram, Leaf):
        return
    yield diagram, TRUE
    marks = [FALSE] * len(diagram.children)
    for i, child in enumerate(diagram.children):
        here = node(diagram.decision, diagram.cuts, [*marks[:i], TRUE, *marks[i + 1 :]])
        for below, condition in nodes(child):
            yield below, both(here, condition)


def decisions(diagram: Diagram) -> set[int]:
    """Returns the decisions that the value depends on."""
    if isinstance(diagram, Leaf):
        return set()
    return {diagram.decision}.union(*map(decisions, diagram.children))


def at(diagram: Diagram, positions: dict[int, float]) -> Any:
    """Returns the value where every decision lies at its position.

    Raises:
        KeyError: a decision that is asked has no position.
    """
    while isinstance(diagram, Node):
        diagram = _child(diagram, diagram.decision, positions[diagram.decision])
    return diagram.value
