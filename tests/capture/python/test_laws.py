"""The law that is read off a call of a random function is the law of its numbers.

Each call is made 4,000 times with a fixed seed; a law is rejected where the Chernoff bound of some outcome is below
1e-9, so that the tests together have a false-alarm rate below 1e-6.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical

from rr_export.capture.python.quantiles import QUANTILES
from rr_export.capture.python.random_functions import GeneratorGivenError, Law, reading
from rr_export.parity.law import rejected

RUNS = 4000
WEIGHTS = torch.tensor([0.5, 0.2, 0.3])
CALLS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "torch.rand": (torch.rand, ((),), {}),
    "torch.rand of two": (torch.rand, (2,), {}),
    "torch.rand_like": (torch.rand_like, (torch.zeros(2),), {}),
    "uniform_": (torch.Tensor.uniform_, (torch.zeros(1), -1.0, 3.0), {}),
    "torch.bernoulli": (torch.bernoulli, (torch.tensor([0.25, 1.0, 0.0]),), {}),
    "bernoulli_": (torch.Tensor.bernoulli_, (torch.zeros(2), 0.7), {}),
    "torch.randint": (torch.randint, (2, 5, (2,)), {}),
    "torch.multinomial": (torch.multinomial, (WEIGHTS, 1), {}),
    "torch.multinomial, replaced": (torch.multinomial, (WEIGHTS, 3), {"replacement": True}),
    "Bernoulli": (Bernoulli(torch.tensor(0.2)).sample, (), {}),
    "Categorical": (Categorical(WEIGHTS).sample, ((2,),), {}),
    "random.random": (random.random, (), {}),
    "random.uniform": (random.uniform, (2, 3), {}),
    "random.randint": (random.randint, (1, 3), {}),
    "random.randrange": (random.randrange, (0, 9, 4), {}),
    "random.choice": (random.choice, ("abc",), {}),
    "random.choices": (random.choices, ("abc",), {"weights": [1, 2, 1], "k": 2}),
    "random.choices, cumulated": (random.choices, ("abc",), {"cum_weights": [1, 3, 4]}),
    "np.random.rand": (np.random.rand, (), {}),
    "np.random.random": (np.random.random, (), {"size": 2}),
    "np.random.uniform": (np.random.uniform, (0, 2), {}),
    "np.random.randint": (np.random.randint, (1, 4), {}),
    "np.random.choice": (np.random.choice, (3,), {"p": [0.1, 0.6, 0.3]}),
    "np.random.binomial": (np.random.binomial, (2, 0.3), {}),
    "torch.randn": (torch.randn, (2,), {}),
    "torch.normal": (torch.normal, (1.0, 2.0, (2,)), {}),
    "random.gauss": (random.gauss, (1, 2), {}),
    "random.expovariate": (random.expovariate, (3,), {}),
    "np.random.normal": (np.random.normal, (1, 2), {"size": 2}),
    "np.random.exponential": (np.random.exponential, (2,), {}),
    "torch.randperm": (torch.randperm, (3,), {}),
    "torch.multinomial, each once": (torch.multinomial, (WEIGHTS, 2), {}),
    "random.sample": (random.sample, ("aabc", 2), {}),
    "np.random.permutation": (np.random.permutation, (3,), {}),
    "np.random.choice, each once": (np.random.choice, (3, 2), {"replace": False, "p": [0.1, 0.6, 0.3]}),
}


def numbers(tensor: torch.Tensor) -> Any:
    return tensor.numpy()


def flat(result: Any) -> list[Any]:
    if isinstance(result, torch.Tensor | np.ndarray):
        return list(result.reshape(-1).tolist())
    return result if isinstance(result, list) else [result]


def drawn(asked: Any, result: Any) -> list[Any]:
    """The numbers that a call drew; what is chosen at once is one of them."""
    return [tuple(flat(result))] if asked.joint else flat(result)


def contradicted(law: Law, found: list[Any]) -> bool:
    if law.probabilities is None:  # quarters of its interval
        positions = [QUANTILES[law.quantile].share((float(v) - law.offset) / law.scale) for v in found]
        if not all(0 <= (float(v) - law.offset) / law.scale < 1 for v in found) and law.quantile == "uniform":
            return True
        seen, expected = np.bincount([int(4 * p) for p in positions], minlength=4), np.full(4, 0.25)
    else:
        counts = Counter(found)
        if set(counts) - set(law.values):
            return True
        seen, expected = np.array([counts[v] for v in law.values]), np.array(law.probabilities)
    return bool(rejected(seen, expected, RUNS, 1e-9))


def read(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    reader = reading(function)
    assert reader is not None
    asked = reader(numbers, *args, **kwargs)
    assert asked is not None
    assert asked.laws is not None
    return asked


@pytest.mark.parametrize("name", CALLS)
def test_the_law_is_that_of_the_numbers(name: str) -> None:
    function, args, kwargs = CALLS[name]
    asked = read(function, args, kwargs)
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    runs = [drawn(asked, function(*args, **kwargs)) for _ in range(RUNS)]
    assert {len(run) for run in runs} == {len(asked.laws)}
    for law, numbers_ in zip(asked.laws, zip(*runs, strict=True), strict=True):
        assert not contradicted(law, list(numbers_))


@pytest.mark.parametrize("name", CALLS)
def test_a_result_is_made_of_its_numbers(name: str) -> None:
    function, args, kwargs = CALLS[name]
    asked = read(function, args, kwargs)
    real = function(*args, **kwargs)
    made = asked.make(drawn(asked, real))
    assert type(made) is type(real)
    assert flat(made) == flat(real)
    if isinstance(real, torch.Tensor):
        assert made.shape == real.shape
        assert made.dtype == real.dtype


@pytest.mark.parametrize("wrong", [Law((0.5, 0.3, 0.2), (0, 1, 2)), Law((0.5, 0.5), (0, 1)), Law()])
def test_sabotage_another_law_is_rejected(wrong: Law) -> None:
    torch.manual_seed(0)
    found = [int(torch.multinomial(WEIGHTS, 1)) for _ in range(RUNS)]
    assert contradicted(wrong, found)


NOISE: list[Callable[[], Any]] = [
    lambda: reading(torch.randn)(numbers, 1000),  # type: ignore[misc]
    lambda: reading(torch.multinomial)(numbers, torch.ones(2, 3), 2),  # type: ignore[misc]
    lambda: reading(np.random.shuffle)(numbers, np.arange(2)),  # type: ignore[misc]
    lambda: reading(random.sample)(numbers, "ab", 1, counts=[1, 2]),  # type: ignore[misc]
    lambda: reading(torch.nn.functional.dropout)(numbers, torch.zeros(2), 0.5, True),  # type: ignore[misc]
    lambda: reading(torch.rand)(numbers, 1000),  # type: ignore[misc]
]


@pytest.mark.parametrize("ask", NOISE)
def test_what_does_not_choose_has_no_law(ask: Callable[[], Any]) -> None:
    asked = ask()
    assert asked.laws is None
    assert asked.why


def test_more_orders_than_can_be_told_apart_are_counted() -> None:
    reader = reading(torch.randperm)
    assert reader is not None
    asked = [reader(numbers, n) for n in (5, 6)]
    assert [len(a.laws[0].values) if a.laws else a.outcomes for a in asked if a is not None] == [120, 720]
    with pytest.raises(ValueError, match="3 of 2 cannot be chosen"):
        reading(random.sample)(numbers, "ab", 3)  # type: ignore[misc]


@pytest.mark.parametrize("name", QUANTILES)
def test_share_and_number_are_inverse(name: str) -> None:
    quantile = QUANTILES[name]
    for share in (0.001, 0.25, 0.5, 0.9, 0.999):
        assert quantile.share(quantile.number(share)) == pytest.approx(share, abs=1e-12)
    assert (quantile.share(-50), quantile.share(50)) == (pytest.approx(0), pytest.approx(1))


def test_dropout_that_is_off_draws_nothing() -> None:
    reader = reading(torch.nn.functional.dropout)
    assert reader is not None
    assert reader(numbers, torch.zeros(2), 0.5, False) is None


def test_a_generator_is_told() -> None:
    reader = reading(torch.rand)
    assert reader is not None
    with pytest.raises(GeneratorGivenError):
        reader(numbers, (), generator=torch.Generator())
