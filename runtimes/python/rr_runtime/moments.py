"""Mean, standard deviation and standard error of arrays that arrive one by one."""

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

    @property
    def error(self) -> NDArray[np.float64] | None:
        """The standard error of the mean, if the values are independent: sqrt(squares / (n (n - 1))); None for one."""
        return None if self.count < 2 else np.sqrt(self._squares / (self.count * (self.count - 1)))


class BlockMoments:
    """The running mean and spread of arrays that come in blocks, and the standard error of their mean.

    Blocks are independent of each other and of one law; arrays within a block need not be. So it is the means of the
    blocks whose spread says how far off their mean is, which is that of all arrays.

    Args:
        first: the first array.
        block: how many arrays a block has, >= 2; of blocks of one, `Moments` says the same.
    """

    def __init__(self, first: NDArray[Any], block: int) -> None:
        self._size, self._runs = block, Moments(first)
        self._open = self._runs.mean  # the sum of the block that is not whole
        self._blocks: Moments | None = None

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of the arrays so far."""
        return self._runs.mean

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of the arrays so far, divided by their number."""
        return self._runs.std

    @property
    def error(self) -> NDArray[np.float64] | None:
        """The standard error of the mean, from whole blocks; None below two of them."""
        return None if self._blocks is None else self._blocks.error

    def add(self, value: NDArray[Any]) -> None:
        """The value is counted; it has the shape of the first one."""
        self._runs.add(value)
        with np.errstate(invalid="ignore", over="ignore"):
            self._open = self._open + np.asarray(value, np.float64)
            if self._runs.count % self._size:
                return
            mean = self._open / self._size
        self._open = np.zeros_like(mean)
        if self._blocks is None:
            self._blocks = Moments(mean)
        else:
            self._blocks.add(mean)
