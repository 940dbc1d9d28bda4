"""Mean and standard deviation of arrays that arrive one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Moments:
    """The running mean and spread of arrays of one shape, in float64, without keeping the arrays.

    Welford's update (Note on a Method for Calculating Corrected Sums of Squares and Products, 1962), with n the number
    of values so far: `mean += (x - mean_before) / n`, `squares += (x - mean_before) * (x - mean)`. Unlike sums of
    squares it does not cancel where the spread is small against the mean.
    """

    def __init__(self, first: NDArray[Any]) -> None:
        self.count = 1
        self.mean = np.array(first, dtype=np.float64)
        # 0 where the first value is finite, NaN where it is not: what x - x gives.
        with np.errstate(invalid="ignore"):
            self._squares = self.mean - self.mean

    def add(self, value: NDArray[Any]) -> None:
        """The value is counted; it has the shape of the first one."""
        x = np.asarray(value, dtype=np.float64)
        self.count += 1
        with np.errstate(invalid="ignore", over="ignore"):
            before = x - self.mean
            self.mean = self.mean + before / self.count
            self._squares = self._squares + before * (x - self.mean)

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of the values so far, divided by their number."""
        return np.sqrt(self._squares / self.count)
