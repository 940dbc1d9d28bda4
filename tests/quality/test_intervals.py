"""Intervals hold as often as they say; their widths are those of the formulas, worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from rr_export.quality.intervals import below_least, bernstein_interval, student_interval


def test_widths_by_hand() -> None:
    sample = [0.0, 1.0] * 200  # mean 1/2, variance 100/399
    log = 4.382026634673881  # ln 80
    width = (2 * (100 / 399) * log / 400) ** 0.5 + 7 * log / (3 * 399)
    assert bernstein_interval(sample, (0.0, 1.0), 0.95) == pytest.approx((0.5 - width, 0.5 + width))
    wider = (2 * (100 / 399) * log / 400) ** 0.5 + 7 * 3 * log / (3 * 399)
    assert bernstein_interval(sample, (-1.0, 2.0), 0.95) == pytest.approx((0.5 - wider, 0.5 + wider))
    assert bernstein_interval(sample[:4], (0.0, 1.0), 0.95) == (0.0, 1.0)  # of which it says nothing
    found = student_interval([1.0, 2.0, 4.0], 0.9)
    expected = stats.t.interval(0.9, 2, loc=7 / 3, scale=stats.sem([1.0, 2.0, 4.0]))
    assert found == pytest.approx(expected)
    assert below_least(59, 0.95) == pytest.approx(0.0495, abs=1e-4)  # the usual 59 of Wilks


def coverage(interval: object, count: int) -> float:
    """How often an interval of 80 % holds the mean .1 of a coin, in 2000 samples of a fixed seed."""
    samples = np.random.default_rng(7).random((2000, count)) < 0.1
    held = [low <= 0.1 <= high for low, high in (interval(sample) for sample in samples)]  # type: ignore[operator]
    return float(np.mean(held))


def test_empirical_bernstein_holds_for_a_skewed_law() -> None:
    """By chance below .8 - .04 in fewer than one of 10,000 such tests, were it just .8; the bound is wide."""
    assert coverage(lambda sample: bernstein_interval(sample, (0.0, 1.0), 0.8), 200) > 0.95


def test_the_sabotaged_interval_is_too_narrow() -> None:
    def narrow(sample: np.ndarray) -> tuple[float, float]:
        low, high = bernstein_interval(sample, (0.0, 1.0), 0.8)
        return sample.mean() - (sample.mean() - low) / 20, sample.mean() + (high - sample.mean()) / 20

    assert coverage(narrow, 200) < 0.7


def test_students_interval_is_near_what_it_says_for_large_samples() -> None:
    """Standard error of the frequency .009; the law is skewed, so that the approximation is off by a little."""
    assert abs(coverage(lambda sample: student_interval(sample, 0.8), 400) - 0.8) < 0.04
