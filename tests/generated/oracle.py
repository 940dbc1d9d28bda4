"""An oracle: the law of what a model returns, found by running its own code with scripted random functions.

It shares nothing with the interpreter. The code runs as it was written; every random function asks the script which
outcome comes next, and the script goes through all of them, depth first, with their exact probabilities. A uniform
number is the middle of one of ``grid`` equal parts of [0, 1), which is exact where the code compares it with multiples
of 1 / grid only.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import nn

GRID = 10
RTOL, ATOL = 1e-3, 1e-4  # outputs that are nearer than this are the same
LOST = 2e-6  # of a probability, by the thresholds of a file, which are float32
UNITS = 10**9  # that a probability of 1 has
Law = dict[tuple[float, ...], float]  # of the numbers of all outputs


class Script:
    """The outcomes of one run; those that it does not have yet are the first ones."""

    def __init__(self, grid: int = GRID) -> None:
        self.grid = grid
        self.taken: list[int] = []
        self.weights: list[list[Fraction]] = []
        self.position = 0

    def choose(self, weights: Sequence[float]) -> int:
        """Returns which outcome comes next."""
        exact = [Fraction(float(w)) for w in weights]
        if self.position == len(self.taken):
            self.taken.append(next(i for i, w in enumerate(exact) if w))
            self.weights.append([w / sum(exact) for w in exact])
        self.position += 1
        return self.taken[self.position - 1]

    def probability(self) -> Fraction:
        """Returns how probable this run is."""
        return math.prod((w[i] for w, i in zip(self.weights, self.taken, strict=True)), start=Fraction(1))

    def advance(self) -> bool:
        """The next run takes other outcomes; returns whether there is one."""
        self.position = 0
        while self.taken:
            last, weights = self.taken.pop(), self.weights.pop()
            later = [i for i in range(last + 1, len(weights)) if weights[i]]
            if later:
                self.taken.append(later[0])
                self.weights.append(weights)
                return True
        return False


def _stand_ins(script: Script) -> dict[tuple[Any, str], Callable[..., Any]]:
    def uniform() -> float:
        return (script.choose([1] * script.grid) + 0.5) / script.grid

    def one_of(values: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        return values[script.choose([1] * len(values) if weights is None else weights)]

    def without(values: Sequence[Any], count: int, weights: Sequence[float] | None = None) -> list[Any]:
        left, of, found = list(values), list([1.0] * len(values) if weights is None else weights), []
        for _ in range(count):
            i = script.choose(of)
            found.append(left.pop(i))
            del of[i]
        return found

    def shuffle(values: list[Any]) -> None:
        values[:] = without(values, len(values))

    def tensor(size: Any, draw: Callable[[], Any], dtype: Any = None) -> torch.Tensor:
        shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        return torch.tensor([draw() for _ in range(math.prod(shape))], dtype=dtype).reshape(tuple(shape))

    def array(size: Any, draw: Callable[[], Any]) -> Any:
        if size is None:
            return draw()
        shape = (size,) if isinstance(size, int) else size
        return np.array([draw() for _ in range(math.prod(shape))]).reshape(shape)

    def bernoulli(p: torch.Tensor) -> torch.Tensor:
        return torch.tensor([float(script.choose([1 - w, w])) for w in p.reshape(-1).tolist()]).reshape(p.shape)

    def randint(*given: Any) -> torch.Tensor:
        *bounds, size = given
        return tensor((size,), lambda: one_of(range(*bounds)), torch.int64)

    def multinomial(p: torch.Tensor, count: int, replacement: bool = False) -> torch.Tensor:
        weights = p.tolist()
        if replacement:
            return torch.tensor([script.choose(weights) for _ in range(count)])
        return torch.tensor(without(range(len(weights)), count, weights))

    def normal() -> float:
        return NormalDist().inv_cdf(uniform())

    def choice(a: Any, size: Any = None, replace: bool = True, p: Any = None) -> Any:
        values = list(range(a)) if isinstance(a, int) else list(a)
        if size is None or replace:
            return array(size, lambda: one_of(values, p))
        return np.array(without(values, size, p))

    return {
        (random, "random"): uniform,
        (random, "uniform"): lambda a, b: a + (b - a) * uniform(),
        (random, "randint"): lambda a, b: one_of(range(a, b + 1)),
        (random, "randrange"): lambda *bounds: one_of(range(*bounds)),
        (random, "choice"): one_of,
        (random, "choices"): lambda values, weights=None, k=1: [one_of(values, weights) for _ in range(k)],
        (random, "sample"): lambda values, k: without(values, k),
        (random, "shuffle"): shuffle,
        (random, "gauss"): lambda mu=0.0, sigma=1.0: mu + sigma * normal(),
        (random, "normalvariate"): lambda mu=0.0, sigma=1.0: mu + sigma * normal(),
        (random, "expovariate"): lambda rate=1.0: -math.log(1 - uniform()) / rate,
        (torch, "rand"): lambda *size, **_: tensor(size, uniform),
        (torch, "randn"): lambda *size, **_: tensor(size, normal),
        (torch, "bernoulli"): bernoulli,
        (torch, "randint"): randint,
        (torch, "randperm"): lambda n: torch.tensor(without(range(n), n), dtype=torch.int64),
        (torch, "multinomial"): multinomial,
        (np.random, "rand"): lambda *size: array(size or None, uniform),
        (np.random, "random"): lambda size=None: array(size, uniform),
        (np.random, "uniform"): lambda low=0.0, high=1.0, size=None: array(
            size, lambda: low + (high - low) * uniform()
        ),
        (np.random, "randint"): lambda low, high=None, size=None: array(
            size, lambda: one_of(range(low) if high is None else range(low, high))
        ),
        (np.random, "randn"): lambda *size: array(size or None, normal),
        (np.random, "normal"): lambda loc=0.0, scale=1.0, size=None: array(size, lambda: loc + scale * normal()),
        (np.random, "choice"): choice,
        (np.random, "shuffle"): shuffle,
        (np.random, "permutation"): lambda n: np.array(without(range(n) if isinstance(n, int) else n, len(range(n)))),
    }


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[None]:
    """Inside, the random functions do as the script says."""
    stand_ins = _stand_ins(script)
    originals = {(home, name): getattr(home, name) for home, name in stand_ins}
    try:
        for (home, name), function in stand_ins.items():
            setattr(home, name, function)
        yield
    finally:
        for (home, name), function in originals.items():
            setattr(home, name, function)


class TooManyRunsError(Exception):
    """A law is of more runs than are tried."""


def law_of(run: Callable[[Script], Any], grid: int = GRID, most: float = math.inf) -> Law:
    """Returns the law of what a function returns that asks a script for every outcome.

    Raises:
        TooManyRunsError: there are more than ``most`` runs.
    """
    script, law = Script(grid), dict[tuple[float, ...], Fraction]()
    for number in itertools.count(1):
        if number > most:
            raise TooManyRunsError
        key = numbers_of(run(script))
        law[key] = law.get(key, Fraction(0)) + script.probability()
        if not script.advance():
            break
    return {k: float(p) for k, p in law.items()}


def law_of_code(model: nn.Module, args: tuple[Any, ...], grid: int = GRID, most: float = math.inf) -> Law:
    """Returns the law of what the model's own code returns; a model that was exported opens runs, which draw too.

    Raises:
        TooManyRunsError: there are more than ``most`` runs.
    """

    def run(script: Script) -> Any:
        with torch.no_grad(), scripted(script):
            return model(*args)

    return law_of(run, grid, most)


def numbers_of(outputs: Any) -> tuple[float, ...]:
    """Returns the numbers of a tensor, or of all of a tuple or list of them."""
    flat = outputs if isinstance(outputs, tuple | list) else [outputs]
    plain = [o.detach() if isinstance(o, torch.Tensor) else o for o in flat]  # code may have switched gradients on
    values = [np.asarray(o, dtype=np.float64).reshape(-1) for o in plain]
    return tuple(np.round(np.concatenate(values), 6).tolist())


def differences(expected: Law, got: Law) -> list[str]:
    """Returns where two laws differ, where all probability may go to outputs that differ by rounding only.

    Two laws are the same within a distance if and only if one can be carried to the other within it (V. Strassen, The
    existence of probability measures with given marginals, 1965), which a maximum flow finds: no order of the outputs
    matters, as it does where each goes to the nearest one.
    """
    carried = _carried(expected, got)
    found = [(key, p, float(to)) for (key, p), to in zip(expected.items(), carried.sum(axis=1), strict=True)]
    found += [(key, float(by), p) for (key, p), by in zip(got.items(), carried.sum(axis=0), strict=True)]
    return [f"{key[:4]}: expected probability {p:.7g}, got {q:.7g}" for key, p, q in found if abs(p - q) > LOST]


def _carried(expected: Law, got: Law) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns how much of each expected output's probability goes to each output that there is: as much as possible."""
    n, m = len(expected), len(got)
    capacity = np.zeros((n + m + 2, n + m + 2), np.int32)
    capacity[-2, :n] = [round(p * UNITS) for p in expected.values()]
    capacity[n : n + m, -1] = [round(p * UNITS) for p in got.values()]
    capacity[:n, n : n + m] = UNITS * _alike(list(expected), list(got))
    flow = maximum_flow(csr_array(capacity), n + m, n + m + 1).flow.toarray()
    carried: np.ndarray[Any, np.dtype[np.float64]] = flow[:n, n : n + m] / UNITS
    return carried


def _alike(
    ones: Sequence[tuple[float, ...]], others: Sequence[tuple[float, ...]]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Returns which outputs differ by rounding only, a row for each of the first; those of other lengths do not."""
    numbers = np.array(list(itertools.zip_longest(*ones, *others, fillvalue=np.inf))).T
    left, right = numbers[: len(ones), None], numbers[None, len(ones) :]
    alike: np.ndarray[Any, np.dtype[np.bool_]] = np.isclose(left, right, RTOL, ATOL, equal_nan=True).all(axis=-1)
    return alike
