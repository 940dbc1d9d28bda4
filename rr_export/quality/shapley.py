"""Shapley values and interactions of a game: what each player, and each pair of players, contributes.

A game of n players is float64 [2^n]: entry m is what the players whose bits are set in m are worth together.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def shapley_values(game: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the Shapley value of every player, float64 [n]; they sum to ``game[-1] - game[0]``.

    ``sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))`` (Shapley: A Value for n-Person Games, 1953).
    """
    players = _players(game)
    masks = np.arange(len(game))
    sizes = _sizes(masks)
    weights = np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])
    found = np.zeros(players)
    for i in range(players):
        without = masks[masks >> i & 1 == 0]
        found[i] = weights[sizes[without]] @ (game[without | 1 << i] - game[without])
    return found


def interaction_indices(game: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the Shapley interaction index of every pair of players, float64 [n, n], 0 on the diagonal.

    ``sum over S without i, j of |S|! (n - |S| - 2)! / (n - 1)! (v(S + i + j) - v(S + i) - v(S + j) + v(S))`` (Grabisch,
    Roubens: An Axiomatic Approach to the Concept of Interaction among Players in Cooperative Games, 1999).
    """
    players = _players(game)
    masks = np.arange(len(game))
    sizes = _sizes(masks)
    weights = np.array([1 / ((players - 1) * math.comb(players - 2, size)) for size in range(players - 1)])
    found = np.zeros((players, players))
    for i in range(players):
        for j in range(i):
            one, other = 1 << i, 1 << j
            without = masks[masks & (one | other) == 0]
            together = game[without | one | other] - game[without | one] - game[without | other] + game[without]
            found[i, j] = found[j, i] = weights[sizes[without]] @ together
    return found


def _players(game: NDArray[np.float64]) -> int:
    return len(game).bit_length() - 1


def _sizes(masks: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bitwise_count(masks.astype(np.uint64)).astype(np.int64)
