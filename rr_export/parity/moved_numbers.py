"""Numbers moved by a few steps of their type, to see how much of a difference is rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

NOISE = 8.0  # steps of its type by which a number is moved
MIXED = 2  # ways of moving some numbers up and others down, beside all up and all down
WAYS = MIXED + 2


def moved(tensor: torch.Tensor, way: int, random: torch.Generator) -> torch.Tensor:
    """Returns real numbers moved by a few steps of their type, anything else as it is.

    Args:
        tensor: the numbers.
        way: below ``MIXED``: each up or down; else all up, or all down.
        random: draws the signs, one for each number.
    """
    if not tensor.is_floating_point():
        return tensor
    signs = torch.randint(0, 2, tensor.shape, generator=random) * 2 - 1
    signs = signs if way < MIXED else torch.full_like(signs, (-1) ** way)
    return tensor * (1 + NOISE * torch.finfo(tensor.dtype).eps * signs).to(tensor.dtype)


@contextmanager
def weights_moved(model: nn.Module, way: int) -> Iterator[None]:
    """Inside the block the parameters of the model are moved, each by a few steps of its type."""
    random = torch.Generator().manual_seed(way)
    kept = [(parameter, parameter.data) for parameter in model.parameters()]
    try:
        for parameter, data in kept:
            parameter.data = moved(data, way, random)
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data
