"""Functions that drop a path in training, in a file of their own as a package has them."""

from __future__ import annotations

from torch import Tensor


def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    """``x``, scaled, with probability 1 - p in training, else zeros."""
    if p == 0.0 or not training:
        return x
    return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - p).div_(1 - p)
