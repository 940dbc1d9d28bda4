"""The laws of routes: thresholds at their edges, chains, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rr_export.laws.policies import LEAST, Categorical, Markov, Policy, Uniform, drawable_rows

GRID = 2**24  # draws are multiples of 1 / GRID
BEFORE_ONE = 1 - LEAST

COPIES: list[Callable[[Any], Any]] = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


@st.composite
def probabilities(draw: st.DrawFn, size: int | None = None) -> list[float]:
    """A law over 1..6 branches, some of probability 0, some of few 2^-24."""
    k = size or draw(st.integers(1, 6))
    weights = draw(st.lists(st.sampled_from([0, 1, 2, 5, 1000, GRID // 3, GRID]), min_size=k, max_size=k))
    weights[draw(st.integers(0, k - 1))] += GRID
    law = [w / sum(weights) for w in weights]
    return [0.0 if p < 2.5 * LEAST else p for p in law]  # between 1 and 2 of them a branch can be out of reach


def hits(policy: Policy, row: int = 0) -> list[int]:
    """How many of the GRID possible draws give each route, counted from the thresholds."""
    edges = [0, *(math.ceil(float(t) * GRID) for t in policy.thresholds[row]), GRID]
    return [after - before for before, after in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("law", "thresholds"),
    [
        pytest.param([1.0], [], id="one branch"),
        pytest.param([0.5, 0.5], [0.5], id="halves"),
        pytest.param([0.25, 0.25, 0.5], [0.25, 0.5], id="cumulative"),
        pytest.param([0.0, 1.0], [0.0], id="zero first"),
        pytest.param([1.0, 0.0], [1.0], id="zero last"),
        pytest.param([0.5, 0.0, 0.5], [0.5, 0.5], id="zero in the middle"),
        pytest.param([0.1, 0.2, 0.7, 0.0, 0.0], [np.float32(0.1), np.float32(0.1 + 0.2), 1.0, 1.0], id="zeros last"),
        pytest.param([-0.0, 1.0], [0.0], id="negative zero"),
        pytest.param([LEAST, BEFORE_ONE], [LEAST], id="least first"),
        pytest.param([BEFORE_ONE, LEAST], [BEFORE_ONE], id="least last"),
        pytest.param([0.50000045, 0.50000045], [0.5], id="divided by the sum"),
    ],
)
def test_thresholds(law: list[float], thresholds: list[float]) -> None:
    policy = Categorical(law)
    assert policy.branches == len(law)
    assert policy.table.dtype == np.float64
    assert policy.table.shape == (1, len(law))
    assert policy.table.sum() == pytest.approx(1, abs=1e-15)
    assert policy.thresholds.dtype == np.float32
    assert policy.thresholds.tolist() == [thresholds]
    assert not np.signbit(policy.thresholds).any()


def test_ten_tenths_end_below_one_only_where_something_remains() -> None:
    ten = Uniform(10)
    assert ten.thresholds[0, -1] == np.float32(0.9)
    assert Categorical([0.1] * 10 + [0.0]).thresholds[0].tolist() == [*ten.thresholds[0].tolist(), 1.0]


@given(probabilities())
@settings(deadline=None)
def test_route_counts_the_thresholds_up_to_the_draw(law: list[float]) -> None:
    policy = Categorical(law)
    last = np.float32(BEFORE_ONE)
    draws = {np.float32(0), np.float32(LEAST), np.float32(0.5), last}
    for threshold in policy.thresholds[0]:
        around = (np.nextafter(threshold, np.float32(0)), threshold, np.nextafter(threshold, np.float32(1)))
        draws |= {min(d, last) for d in around}
    for draw in draws:
        route = policy.route(draw)
        assert route == sum(1 for t in policy.thresholds[0] if t <= draw)
        assert law[route] > 0


@given(probabilities())
@settings(deadline=None)
def test_drawn_law_is_the_law_within_two_draws(law: list[float]) -> None:
    counts = hits(Categorical(law))
    assert sum(counts) == GRID
    for p, count in zip(law, counts, strict=True):
        assert abs(count - p * GRID) <= 2 + 1e-6 * p * GRID
        assert p > 0 or count == 0


def test_a_branch_that_no_draw_takes_is_refused() -> None:
    law = [0.5 + 3 * 2.0**-25, 2.0**-24, 0.5 - 5 * 2.0**-25]
    with pytest.raises(
        ValueError, match=r"Categorical: expected probabilities that some draw hits, got 5.96e-08 for branch 1"
    ):
        Categorical(law)
    with pytest.raises(ValueError, match=r"row 1: expected probabilities that some draw hits"):
        Markov([0.2, 0.3, 0.5], [[0.2, 0.3, 0.5], law, [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("law", [[LEAST, BEFORE_ONE], [BEFORE_ONE, LEAST], [0.5, LEAST, 0.5 - LEAST]])
def test_least_probability_is_one_draw(law: list[float]) -> None:
    assert hits(Categorical(law)) == [round(p * GRID) for p in law]


def test_routes_on_both_sides_of_the_outer_draws() -> None:
    first, last = Categorical([LEAST, BEFORE_ONE]), Categorical([BEFORE_ONE, LEAST])
    assert [first.route(0.0), first.route(LEAST)] == [0, 1]
    assert [last.route(1 - 2 * LEAST), last.route(BEFORE_ONE)] == [0, 1]


@pytest.mark.parametrize("draw", [1.0, 0.99999999, -LEAST, math.nan, math.inf])
def test_bug_a_draw_of_one_takes_no_impossible_branch(draw: float) -> None:
    with pytest.raises(ValueError, match=r"route: expected a draw in \[0, 1\) as float32, got .*; draw multiples"):
        Categorical([1.0, 0.0]).route(draw)


@pytest.mark.parametrize("previous", [-1, 2])
def test_previous_route_must_exist(previous: int) -> None:
    step = Markov([0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]]).step(1)
    with pytest.raises(ValueError, match=rf"route: expected a previous route 0\.\.1, got {previous}; give"):
        step.route(0.5, previous)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ([0.5, 0.6], r"Categorical: expected probabilities that sum to 1, got \[0\.5, 0\.6\] with sum 1\.1; divide"),
        ([0.5, 0.5 + 2e-6], r"sum to 1, got .* with sum 1\.000002;"),
        ([-0.1, 1.1], r"Categorical: expected probabilities >= 0, got \[-0\.1, 1\.1\]; mend"),
        ([math.nan, 1.0], r"expected probabilities >= 0, got \[nan, 1\.0\]; mend"),
        ([math.inf, 0.0], r"expected probabilities >= 0, got \[inf, 0\.0\]; mend"),
        ([LEAST * 0.999, 1 - LEAST * 0.999], r"0 or at least 2\^-24, got 5\.95e-08, which no draw can hit; use 0"),
        ([0.0, 0.0], r"sum to 1, got \[0\.0, 0\.0\] with sum 0;"),
        ([], r"Categorical: expected a list of probabilities, got shape \(0,\); give one per branch"),
        (0.5, r"Categorical: expected a list of probabilities, got shape \(\); give one per branch"),
        ([[0.5, 0.5]], r"Categorical: expected a list of probabilities, got shape \(1, 2\); give one per branch"),
        ("half", r"Categorical: expected numbers in rows of one length, got 'half'; mend them"),
        ([[0.5], [0.5, 0.5]], r"Categorical: expected numbers in rows of one length, got .*; mend them"),
    ],
)
def test_categorical_refuses(law: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Categorical(law)


def test_uniform_is_categorical() -> None:
    assert isinstance(Uniform(3), Categorical)
    assert Uniform(3) == Categorical([1 / 3] * 3)
    assert Uniform(1).route(0.7) == 0


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_uniform_refuses(k: Any) -> None:
    with pytest.raises(ValueError, match=r"Uniform: expected at least one branch, got .*; give a positive integer"):
        Uniform(k)


def test_policies_are_values() -> None:
    policy, same, other = Categorical([0.25, 0.75]), Categorical((0.25, 0.75)), Categorical([0.75, 0.25])
    assert policy == same
    assert hash(policy) == hash(same)
    assert policy not in (other, Uniform(3), "policy")
    assert Categorical([-0.0, 1.0]) == Categorical([0.0, 1.0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.table = other.table  # type: ignore[misc]
    for array in (policy.table, policy.thresholds):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1.0


def test_policies_keep_no_hold_on_their_arguments() -> None:
    law, matrix = np.array([0.5, 0.5]), np.eye(2)
    policy, chain = Categorical(law), Markov(law, matrix)
    law[:], matrix[:] = (1.0, 0.0), 0.5
    assert policy.table.tolist() == [[0.5, 0.5]]
    assert chain.step(0).table.tolist() == [[0.5, 0.5]]
    assert chain.step(1).table.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_one_matrix_serves_every_step() -> None:
    chain = Markov([0.25, 0.75], [[0.9, 0.1], [0.0, 1.0]])
    assert chain.length is None
    assert chain.step(0).table.tolist() == [[0.25, 0.75]]
    for t in (1, 2, 50):
        step = chain.step(t)
        assert (step.index, step.branches) == (t, 2)
        assert step.chain is chain
        assert step.table.tolist() == [[0.9, 0.1], [0.0, 1.0]]
        assert step.thresholds.tolist() == [[np.float32(0.9)], [0.0]]
        assert [step.route(0.0, previous) for previous in (0, 1)] == [0, 1]


def test_matrices_follow_each_other() -> None:
    chain = Markov([0.5, 0.5], [[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], [[1.0], [1.0], [1.0]], [[0.5, 0.5]]])
    assert chain.length == 4
    assert [chain.step(t).table.shape for t in range(4)] == [(1, 2), (2, 3), (3, 1), (1, 2)]
    assert chain.step(2).thresholds.shape == (3, 0)
    assert [chain.step(1).route(0.5, previous) for previous in (0, 1)] == [0, 2]
    assert repr(chain) == "Markov(branches=[2, 3, 1, 2], length=4)"


def test_chain_without_transitions_has_one_step() -> None:
    assert Markov([0.5, 0.5], []).length == 1


@given(st.lists(probabilities(size=3), min_size=4, max_size=4))
@settings(deadline=None, max_examples=30)
def test_every_row_of_a_transition_is_a_law(rows: list[list[float]]) -> None:
    step = Markov(rows[0], rows[1:]).step(1)
    for previous, row in enumerate(rows[1:]):
        alone = Categorical(row)
        assert step.table[previous].tolist() == alone.table[0].tolist()
        assert step.thresholds[previous].tolist() == alone.thresholds[0].tolist()


@pytest.mark.parametrize(
    ("initial", "transitions", "message"),
    [
        ([0.5, 0.4], np.eye(2), r"Markov: initial: expected probabilities that sum to 1, got \[0\.5, 0\.4\]"),
        ("half", np.eye(2), r"Markov: initial: expected numbers in rows of one length, got 'half'"),
        ([0.5, 0.5], [[1.0, 0.0], [0.5, 0.6]], r"Markov: transition 0, row 1: expected probabilities that sum to 1"),
        ([0.5, 0.5], [np.eye(2), [[1, 0], [-1, 2]]], r"Markov: transition 1, row 1: expected probabilities >= 0"),
        ([0.5, 0.5], [np.eye(2), [[1, 0], [1 - 1e-9, 1e-9]]], r"transition 1, row 1: .* got 1e-09, which no draw"),
        ([0.5, 0.5], np.ones((2, 1)), r"expected a square matrix or one matrix per step, got shape \(2, 1\); put"),
        ([0.5, 0.5], np.eye(3), r"Markov: transition 0: expected 2 rows, .* of step 0, got shape \(3, 3\); make"),
        ([0.5, 0.5], [np.ones((2, 1)), np.eye(2)], r"Markov: transition 1: expected 1 rows, .* got shape \(2, 2\)"),
        ([0.5, 0.5], [[[0.5, 0.5], [1.0]]], r"Markov: transition 0: expected numbers in rows of one length"),
        ([0.5, 0.5], [0.5, 0.5], r"Markov: transition 0: expected 2 rows, .* got shape \(\); make"),
    ],
)
def test_markov_refuses(initial: Any, transitions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Markov(initial, transitions)


def test_markov_refuses_what_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"Markov: expected transition matrices, got 3; give one matrix or a list"):
        Markov([0.5, 0.5], 3)  # a number is array-like for the type checker


@pytest.mark.parametrize(
    ("transitions", "t", "allowed"),
    [(np.eye(2), -1, "0 or more"), (np.eye(2), True, "0 or more"), (np.eye(2), 1.0, "0 or more"),
     ([np.eye(2)], 2, r"0\.\.1"), ([], 1, r"0\.\.0")],
)  # fmt: skip
def test_markov_has_no_such_step(transitions: Any, t: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"Markov: expected a step of {allowed}, got {t}; add transitions"):
        Markov([0.5, 0.5], transitions).step(t)


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
def test_copies_keep_laws_and_chains(copied: Callable[[Any], Any]) -> None:
    chain, other = Markov([0.5, 0.5], np.eye(2)), Markov([0.5, 0.5], np.eye(2))
    policies: list[Policy] = [Categorical([0.25, 0.75]), Uniform(3), *map(chain.step, range(3)), other.step(0)]
    for policy in policies[:3]:
        assert policy.thresholds.shape[1] == policy.branches - 1  # computed before some copies, after others
    twins = copied(policies)
    for policy, twin in zip(policies, twins, strict=True):
        assert type(twin) is type(policy)
        assert twin.table.tolist() == policy.table.tolist()
        assert twin.thresholds.tolist() == policy.thresholds.tolist()
    assert twins[:2] == policies[:2]
    first, second, third, stranger = twins[2:]
    assert first.chain is second.chain is third.chain
    assert first.chain is not chain
    assert first.chain is not stranger.chain
    assert first.chain.step(1) is second
    assert [s.index for s in (first, second, third)] == [0, 1, 2]


@pytest.mark.parametrize("seed", range(10))
def test_drawable_rows_are_policies(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = LEAST * random.uniform(0.5, 2.5, (50, 6))
    table[np.arange(50), random.integers(6, size=50)] = 0.5
    table[np.arange(50), random.integers(6, size=50)] += 0.3
    table /= table.sum(axis=1, keepdims=True)
    found = drawable_rows(table)
    for row, before in zip(found, table, strict=True):
        assert min(count for count, p in zip(hits(Categorical(row)), row, strict=True) if p > 0) > 0
        assert abs(row - before).max() < 6 * 2.0**-23
        assert (row[before >= 2.0**-23] > 0).all() and (row[before < LEAST * 0.99] == 0).all()
    again = drawable_rows(found)
    assert ((again > 0) == (found > 0)).all() and abs(again - found).max() < 1e-15
    assert (found == 0).any()


def test_drawable_rows_have_no_branch_without_a_draw() -> None:
    row = [0.5 + 1.5 * LEAST, LEAST, 0.5 - 2.5 * LEAST]  # both thresholds round to 0.5 + 2 * LEAST
    with pytest.raises(ValueError, match="expected probabilities that some draw hits"):
        Categorical(row)
    assert (drawable_rows(np.array([row]))[0] > 0).tolist() == [True, False, True]
