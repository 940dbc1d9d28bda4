"""Shapley values and interactions of games that are known: by hand, by all orders, and by Harsanyi's dividends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rr_export.quality.shapley import interaction_indices, shapley_values

Game = NDArray[np.float64]


def members(mask: int, players: int) -> list[int]:
    return [i for i in range(players) if mask >> i & 1]


def by_orders(game: Game, players: int) -> list[float]:
    """What a player adds after those before it, averaged over all orders: the definition."""
    gains = np.zeros(players)
    for order in itertools.permutations(range(players)):
        mask = 0
        for player in order:
            gains[player] += game[mask | 1 << player] - game[mask]
            mask |= 1 << player
    return (gains / math.factorial(players)).tolist()


def dividends(game: Game, players: int) -> dict[int, float]:
    """What each coalition is worth beyond its parts (Harsanyi): v = sum over subsets."""
    found: dict[int, float] = {}
    for mask in range(1 << players):
        found[mask] = float(game[mask]) - sum(d for part, d in found.items() if part & mask == part)
    return found


@pytest.mark.parametrize("players", [1, 2, 5])
def test_any_game(players: int) -> None:
    game = np.random.default_rng(players).normal(size=1 << players)
    found, pairs = shapley_values(game), interaction_indices(game)
    assert found.tolist() == pytest.approx(by_orders(game, players))
    assert found.sum() == pytest.approx(game[-1] - game[0])
    parts = dividends(game, players)
    for i in range(players):
        assert found[i] == pytest.approx(sum(d / mask.bit_count() for mask, d in parts.items() if mask >> i & 1))
        for j in range(i):
            both = sum(d / (m.bit_count() - 1) for m, d in parts.items() if m >> i & 1 and m >> j & 1)
            assert pairs[i, j] == pairs[j, i] == pytest.approx(both)


def test_an_additive_game_has_no_interactions() -> None:
    worth = np.array([0.5, -1.0, 2.0, 0.0])
    game = np.array([3.0 + worth[members(mask, 4)].sum() for mask in range(16)])
    assert shapley_values(game).tolist() == pytest.approx(worth.tolist())
    assert np.abs(interaction_indices(game)).max() < 1e-12


def test_a_product_by_hand() -> None:
    """(1 + a)(1 + b): a + ab / 2, b + ab / 2, and the pair ab."""
    a, b = 0.3, -0.7
    game = np.array([1, 1 + a, 1 + b, (1 + a) * (1 + b)])
    assert shapley_values(game).tolist() == pytest.approx([a + a * b / 2, b + a * b / 2])
    assert interaction_indices(game)[0, 1] == pytest.approx(a * b)


def test_who_only_counts_last_is_not_its_shapley_value() -> None:
    """The sabotaged value: what a player adds to all others is another number, and does not sum to the whole."""
    game = np.random.default_rng(1).normal(size=8)
    last = [game[7] - game[7 & ~(1 << i)] for i in range(3)]
    assert sum(last) != pytest.approx(game[7] - game[0])
    assert shapley_values(game).tolist() != pytest.approx(last)
