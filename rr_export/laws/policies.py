"""The laws of routes: which branch a draw chooses.

A policy is a table of probabilities, float64 [J, K]: one row, or for a later step of a Markov chain one row
per branch of the step before. A route is the number of thresholds (cumulative probabilities) <= the draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rr_export.errors import PlanError
from rr_runtime.one_line import cut_to_line, list_few

LEAST = 2.0**-24  # draws are multiples of it; what is less likely could never be drawn
SUM_TOLERANCE = 1e-6
DECISIONS = ("sample", "argmax")  # how the probabilities of a gate become a route
LAW_TOLERANCE = (
    2.0**-23
)  # float32 thresholds: the most by which a branch's probability in a file may differ from its plan's


@dataclass(frozen=True, eq=False)
class Policy:
    """The law of one site's route.

    Attributes:
        table: float64 [J, K], rows sum to 1; J = 1 except for later steps of a chain.
    """

    table: NDArray[np.float64]

    @property
    def branches(self) -> int:
        """K, the number of branches."""
        return int(self.table.shape[1])

    @cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 [J, K - 1]: the float64 cumulative sums, rounded; 1 where nothing remains."""
        return _thresholds(self.table)

    def route(self, draw: float | np.float32, previous: int = 0) -> int:
        """Returns the route for a draw in [0, 1), after the route ``previous`` of the step before.

        Raises:
            ValueError: the draw, as float32, is not in [0, 1), or the table has no row for ``previous``.
        """
        drawn = np.float32(draw)
        if not 0 <= drawn < 1:
            raise ValueError(f"route: expected a draw in [0, 1) as float32, got {draw!r}; draw multiples of 2^-24")
        if not 0 <= previous < len(self.thresholds):
            raise ValueError(
                f"route: expected a previous route 0..{len(self.thresholds) - 1}, got {previous}; give the route of "
                "the step before, or 0 where there is none"
            )
        return int(np.count_nonzero(self.thresholds[previous] <= drawn))

    def __repr__(self) -> str:
        return cut_to_line(f"{type(self).__name__}({_shown(self.table)})")


class Categorical(Policy):
    """The route is k with probability ``probabilities[k]``, whatever happens elsewhere.

    Args:
        probabilities: K numbers >= 0 that sum to 1 within 1e-6 (and are divided by their sum).

    Raises:
        ValueError: they are no probabilities, or one lies between 0 and 2^-24, or (up to 2^-23) where no draw takes it.
    """

    def __init__(self, probabilities: ArrayLike) -> None:
        super().__init__(checked_rows("Categorical", _numbers("Categorical", probabilities)[None]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categorical) and np.array_equal(self.table, other.table)

    def __hash__(self) -> int:
        return hash(tuple(self.table[0]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(self.table[0])})"


def checked_count(where: str, k: object) -> int:
    """Returns a number of branches.

    Raises:
        ValueError: it is no positive integer.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"{where}: expected at least one branch, got {k!r}; give a positive integer")
    return int(k)


class Uniform(Categorical):
    """All ``k`` routes are equally likely."""

    def __init__(self, k: int) -> None:
        k = checked_count("Uniform", k)
        super().__init__(np.full(k, 1.0 / k))

    def __repr__(self) -> str:
        return f"Uniform({self.branches})"


@dataclass(frozen=True, eq=False)
class MarkovStep(Policy):
    """One step of a chain, the policy of one site.

    Attributes:
        chain: the chain; steps belong together when this is the same object.
        index: t, from 0.
    """

    chain: Markov
    index: int

    def __repr__(self) -> str:
        return cut_to_line(f"MarkovStep({self.index} of a chain, {_shown(self.table)})")


class Gated(Policy):
    """The input decides: in every run the probabilities are computed where the site is called.

    There is no table then, and no law of paths for all inputs: ``plan.with_policies({site: Categorical(...)})`` has the
    law for what a gate gives.

    Attributes:
        decision: "sample": the run's draw chooses, by the probabilities; "argmax": the likeliest branch, of equal ones
            the first.

    Args:
        k: the number of branches, K.
        decision: how the route comes of the probabilities.

    Raises:
        ValueError: ``k`` is no positive integer, or the decision is unknown.
    """

    decision: str

    def __init__(self, k: int, decision: str = "sample") -> None:
        object.__setattr__(self, "_branches", checked_count("Gate", k))
        if decision not in DECISIONS:
            raise ValueError(f"Gate: expected a decision of {', '.join(DECISIONS)}, got {decision!r}; choose one")
        object.__setattr__(self, "decision", decision)

    @property
    def branches(self) -> int:
        """K, the number of branches."""
        return int(vars(self)["_branches"])

    @property
    def table(self) -> NDArray[np.float64]:
        """There is none.

        Raises:
            PlanError: always; the text says what to do instead.
        """
        raise PlanError(
            "plan: expected a law that does not depend on the input, got a gate; give its probabilities for an input "
            "with plan.with_policies({site: rr.Categorical(...)})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gated) and (self.branches, self.decision) == (other.branches, other.decision)

    def __hash__(self) -> int:
        return hash((self.branches, self.decision))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.branches} branches by the input, {self.decision})"


class Markov:
    """Routes that depend on the route before: P(X_t = x) = sum over x' of P(X_{t-1} = x') P(X_t = x | X_{t-1} = x').

    Args:
        initial: float [K_0], the law of step 0.
        transitions: one square matrix [K, K] for every later step (row: the route before), or a sequence of
            matrices, the t-th from step t to step t + 1, of shape [K_t, K_{t+1}].

    Raises:
        ValueError: a row holds no probabilities, or the shapes do not follow each other.
    """

    def __init__(self, initial: ArrayLike, transitions: ArrayLike | Sequence[ArrayLike]) -> None:
        first = checked_rows("Markov: initial", _numbers("Markov: initial", initial)[None])
        single = _matrix(transitions)
        if single is not None:
            if single.shape[0] != single.shape[1]:
                raise ValueError(
                    f"Markov: transitions: expected a square matrix or one matrix per step, got shape {single.shape}; "
                    "put matrices into a list"
                )
            matrices = [single]
        else:
            matrices = [_numbers(f"Markov: transition {t}", m) for t, m in enumerate(_listed(transitions))]
        width = first.shape[1]
        self._tables: list[NDArray[np.float64]] = [first]
        for t, matrix in enumerate(matrices):
            where = f"Markov: transition {t}"
            if matrix.ndim != 2 or matrix.shape[0] != width:
                raise ValueError(
                    f"{where}: expected {width} rows, one per branch of step {t}, got shape {matrix.shape}; "
                    "make the matrices follow each other"
                )
            self._tables.append(checked_rows(where, matrix))
            width = matrix.shape[1]
        self.length: int | None = None if single is not None else len(self._tables)
        self._steps: dict[int, MarkovStep] = {}

    def step(self, t: int) -> MarkovStep:
        """Returns the policy of the chain's t-th site.

        Raises:
            ValueError: the chain has no such step.
        """
        if isinstance(t, bool) or not isinstance(t, int | np.integer) or t < 0 or (self.length or t + 1) <= t:
            allowed = "0 or more" if self.length is None else f"0..{self.length - 1}"
            raise ValueError(f"Markov: expected a step of {allowed}, got {t!r}; add transitions for more steps")
        index = int(t)
        if index not in self._steps:
            self._steps[index] = MarkovStep(self._tables[min(index, len(self._tables) - 1)], self, index)
        return self._steps[index]

    def __repr__(self) -> str:
        """Shows the sizes."""
        return f"Markov(branches=[{list_few(t.shape[1] for t in self._tables)}], length={self.length})"


def checked_rows(where: str, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns ``table`` with every row divided by its sum, read-only.

    Raises:
        ValueError: a row holds no probabilities.
    """
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"{where}: expected a list of probabilities, got shape {table.shape[1:]}; give one per branch")
    for number, row in enumerate(table):
        at = where if len(table) == 1 else f"{where}, row {number}"
        if not np.isfinite(row).all() or (row < 0).any():
            raise ValueError(
                f"{at}: expected probabilities >= 0, got {row.tolist()}; mend the negative or non-finite one"
            )
        if abs(row.sum() - 1) > SUM_TOLERANCE:
            raise ValueError(
                f"{at}: expected probabilities that sum to 1, got {row.tolist()} with sum {row.sum():.9g}; divide them "
                "by their sum"
            )
        tiny = row[(row > 0) & (row < LEAST)]
        if tiny.size:
            raise ValueError(
                f"{at}: expected probabilities of 0 or at least 2^-24, got {tiny[0]:.3g}, which no draw can hit; use 0"
            )
    normal: NDArray[np.float64] = table / table.sum(axis=1, keepdims=True) + 0.0  # no -0.0
    lost = np.argwhere(_lost(normal))
    if lost.size:
        number, branch = lost[0].tolist()
        at = where if len(table) == 1 else f"{where}, row {number}"
        raise ValueError(
            f"{at}: expected probabilities that some draw hits, got {normal[number, branch]:.3g} for branch {branch}, "
            "whose thresholds round to float32 without a draw between them; use 0 or at least 2^-23"
        )
    normal.flags.writeable = False
    return normal


def drawable_rows(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns probabilities, float64 [J, K], that some draw takes or that are 0: smaller ones are 0 now.

    What they leave is shared among the others of their row, each in proportion. No probability of a row that sums to 1
    changes by more than K * 2^-23.
    """
    found = np.array(table, dtype=np.float64)
    while True:
        found[found < LEAST] = 0.0
        found /= found.sum(axis=1, keepdims=True)
        lost = _lost(found / found.sum(axis=1, keepdims=True))  # as a policy divides them
        if not lost.any() and not ((found > 0) & (found < LEAST)).any():
            return found
        found[lost] = 0.0


def _lost(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which branches have a probability above 0 and no draw between their thresholds, bool [J, K]."""
    borders = np.pad(_thresholds(table).astype(np.float64), ((0, 0), (1, 1)), constant_values=(0.0, 1.0))
    lost: NDArray[np.bool_] = (table > 0) & (np.diff(np.ceil(borders / LEAST), axis=1) == 0)
    return lost


def _thresholds(table: NDArray[np.float64]) -> NDArray[np.float32]:
    """The cumulative sums of every row but its last, as float32, read-only."""
    cumulative = np.cumsum(table, axis=1)[:, :-1]
    remaining = np.cumsum(table[:, ::-1], axis=1)[:, ::-1][:, 1:]
    thresholds = np.where(remaining == 0, 1.0, cumulative).astype(np.float32)
    thresholds.flags.writeable = False
    return thresholds


def _shown(numbers: NDArray[np.float64]) -> str:
    """A row of probabilities, or a table of them, to four digits."""
    if numbers.ndim == 1:
        return f"[{list_few(f'{number:.4g}' for number in numbers)}]"
    return f"[{list_few(map(_shown, numbers))}]"


def _numbers(where: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected numbers in rows of one length, got {values!r}; mend them") from error


def _listed(transitions: Any) -> list[Any]:
    if not isinstance(transitions, Iterable):
        raise TypeError(f"Markov: expected transition matrices, got {transitions!r}; give one matrix or a list of them")
    return list(transitions)


def _matrix(transitions: ArrayLike | Sequence[ArrayLike]) -> NDArray[np.float64] | None:
    """The one matrix for all steps, if that is what was given."""
    try:
        array = np.asarray(transitions, dtype=np.float64)
    except ValueError:  # matrices of different shapes
        return None
    return array if array.ndim == 2 else None
