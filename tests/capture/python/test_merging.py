from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.heap import Snapshot
from rr_export.capture.python.memory import Moment
from rr_export.capture.python.merging import Merger
from rr_export.capture.python.ragged import UNREADABLE
from rr_export.capture.python.values import Poison, Varying, plain
from tests.capture.python.setting import LINE

WHICH = dd.node(0, (0.5,), (dd.Leaf(0), dd.Leaf(1)))
FIRST, SECOND = torch.ones(1), torch.zeros(1)


def merger_of(branches: int) -> Merger:
    """Returns what merges the values of branches that changed nothing."""
    after = [Moment(Snapshot(), {}, frozenset()) for _ in range(branches)]
    return Merger(WHICH, LINE, lambda branch: nullcontext(), plain, after, list)


def merged(*values: Any) -> tuple[Any, list[Any]]:
    """Returns the value of two branches, of which the first one wins, and the operands of the marker."""
    merger = merger_of(2)
    build = merger.merge(values, "'x'")
    return build([branches[0] for branches in merger.tensors]), merger.tensors


def test_one_object_stays_itself() -> None:
    value = object()
    assert merged(value, value) == (value, [])


def test_plain_values_vary() -> None:
    for first, second in (("a", "b"), (True, 2), (None, 0.5)):
        value, tensors = merged(first, second)
        assert isinstance(value, Varying)
        assert (value.diagram, tensors) == (dd.node(0, (0.5,), (dd.Leaf(first), dd.Leaf(second))), [])


def test_tensor_or_none_varies_and_holds_zeros_meanwhile() -> None:
    given = torch.ones(2)
    value, ((first, second),) = merged(given, None)
    assert dd.leaves(value.diagram) == [given, None]
    assert (first is given, second.tolist()) == (True, [0, 0])


def test_tensors_of_different_shapes_vary() -> None:
    first, second = torch.ones(2), torch.ones(3)
    for values in ((first, second), (Varying(dd.node(1, (0.5,), (dd.Leaf(first), dd.Leaf(second)))), second)):
        value, tensors = merged(*values)
        assert isinstance(value, Varying)
        assert ({id(t) for t in dd.leaves(value.diagram)}, tensors) == ({id(first), id(second)}, [])


def test_structures_are_merged_part_by_part() -> None:
    (left, right), (tensors,) = merged((torch.ones(1), {"k": 1}), (torch.zeros(1), {"k": 2}))
    assert left is tensors[0]
    assert dd.leaves(right["k"].diagram) == [1, 2]


def test_lists_of_other_lengths_have_elements_on_some_paths_only() -> None:
    value, tensors = merged([1, 2], [0, 2, 3])
    there = [(dd.leaves(held.diagram) if isinstance(held, Varying) else held, one) for held, one in value]
    assert (there, tensors) == ([([False, True], 0), ([True, False], 1), (True, 2), ([False, True], 3)], [])


def test_elements_that_are_computed_are_not_read_where_they_are_not_always_there() -> None:
    value, tensors = merged([FIRST], [FIRST, SECOND])
    assert (value[0], value[1][1], tensors) == ((True, FIRST), UNREADABLE, [])


@pytest.mark.parametrize(
    ("values", "expected", "got"),
    [
        ((torch.ones(2), torch.ones(2).double()), "one dtype of 'x'", "torch.float32 and torch.float64"),
        ((1, torch.ones(1)), "one type of 'x'", "a tensor float32 [1] and int 1"),
    ],
)
def test_what_cannot_be_one_value_is_poison(values: tuple[Any, Any], expected: str, got: str) -> None:
    poison, _ = merged(*values)
    assert isinstance(poison, Poison)
    assert (poison.expected, poison.got) == (f"{expected} after the branches of model.py:7", got)


def test_condition_of_one_branch_is_false_in_the_others() -> None:
    merger = merger_of(3)
    gate = torch.tensor(True)
    merger.merge_gate(gate, 1, 3)
    ((first, second, third),) = merger.tensors
    assert second is gate
    assert (bool(first), bool(third)) == (False, False)
