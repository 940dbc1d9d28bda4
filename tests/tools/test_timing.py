"""Laws and intervals of samples, by their definitions; a clock that counts stands in for time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rr_runtime.tools.timing import interleave, interval_of, law_of


def test_law_of_samples() -> None:
    law = law_of(np.arange(101.0))
    assert (law.p50, law.p95, law.p99, law.mean, law.samples) == (50, 95, 99, 50, 101)
    assert law.deviation == pytest.approx(np.std(np.arange(101.0), ddof=1))
    assert law.error == pytest.approx(law.deviation / math.sqrt(101))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_interval_holds_the_median_as_often_as_it_says(confidence: float) -> None:
    # Skewed samples, 2000 times; 5 standard errors: false alarms 6e-7 per case.
    random = np.random.default_rng(1)
    times = 2000
    found = [interval_of(random.exponential(size=30), confidence=confidence) for _ in range(times)]
    share = np.mean([interval.low <= math.log(2) <= interval.high for interval in found])
    assert share >= confidence - 5 * math.sqrt(confidence * (1 - confidence) / times)
    assert all(interval.low <= interval.median <= interval.high for interval in found)


def test_interval_of_six_is_their_range_and_of_five_has_no_bounds() -> None:
    assert interval_of(np.arange(6.0)).low == 0 and interval_of(np.arange(6.0)).high == 5
    assert interval_of(np.arange(5.0)).low == -math.inf


def test_single_cases_are_called_twice_a_sample_and_seldom_ones_not_in_every_round() -> None:
    ticks = itertools.count()
    calls = {"single": 0, "seldom": 0}

    def case(name: str) -> None:
        calls[name] += 1

    times = interleave(
        {name: lambda name=name: case(name) for name in calls},
        runs=9,
        clock=lambda: float(next(ticks)),
        single={"single"},
        seldom={"seldom": 4},
    )
    assert {name: len(samples) for name, samples in times.items()} == {"single": 9, "seldom": 3}
    assert calls["single"] == 3 + 2 * 9
