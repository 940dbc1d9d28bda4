"""Decision diagrams are the functions that they stand for, and equal functions are one diagram."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rr_export.capture.python import diagram as dd

CUTS = {0: (0.25, 0.5), 1: (1.0,), 2: (0.5, 0.75, 0.9)}
POSITIONS = [
    dict(zip(CUTS, at, strict=True))
    for at in itertools.product((0.0, 0.25, 0.4, 0.6), (0.0, 1.0), (0.1, 0.5, 0.8, 0.95))
]


@st.composite
def diagrams(draw: Any, first: int = 0) -> dd.Diagram:
    if first > max(CUTS) or draw(st.booleans()):
        return dd.Leaf(draw(st.integers(0, 3)))
    children = [draw(diagrams(first + 1)) for _ in range(len(CUTS[first]) + 1)]
    return dd.node(first, CUTS[first], children)


def values(diagram: dd.Diagram) -> list[Any]:
    return [dd.at(diagram, positions) for positions in POSITIONS]


@given(diagrams(), diagrams())
def test_apply_is_pointwise(a: dd.Diagram, b: dd.Diagram) -> None:
    assert values(dd.apply(max, a, b)) == [max(p, q) for p, q in zip(values(a), values(b), strict=True)]


@given(diagrams(), diagrams())
def test_equal_functions_are_one_diagram(a: dd.Diagram, b: dd.Diagram) -> None:
    assert (a is b) == (values(a) == values(b))


@given(diagrams(), diagrams(), diagrams())
def test_choose_takes_the_outcome(which: dd.Diagram, a: dd.Diagram, b: dd.Diagram) -> None:
    binary = dd.apply(lambda v: v % 2, which)
    chosen = dd.choose(binary, [a, b])
    assert values(chosen) == [pair[k] for k, *pair in zip(values(binary), values(a), values(b), strict=True)]


@given(diagrams(), diagrams())
def test_given_is_equal_where_the_guard_holds(a: dd.Diagram, b: dd.Diagram) -> None:
    guard = dd.apply(lambda v: v > 0, b)
    if guard is dd.FALSE:
        return
    reduced = dd.given(a, guard)
    assert all(r == v for r, v, holds in zip(values(reduced), values(a), values(guard), strict=True) if holds)


@given(diagrams())
def test_ways_lead_to_every_value(a: dd.Diagram) -> None:
    assert set(dd.leaves(a)) == set(values(a)) == {leaf.value for _, leaf in dd.paths(a)}


def test_values_of_different_types_are_different() -> None:
    leaves = [dd.Leaf(v) for v in (1, 1.0, True)]
    assert len(set(map(id, leaves))) == 3
    assert dd.Leaf("a") is dd.Leaf("a")
    one, other = object(), object()
    assert dd.Leaf(one) is dd.Leaf(one)
    assert dd.Leaf(one) is not dd.Leaf(other)
