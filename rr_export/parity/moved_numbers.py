"""Numbers moved by a few steps of their type, to see how much of a difference is rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rr_export.eager.learned import named_weights_of

NOISE = 8.0  # steps of its type by which a number is moved
MIXED = 2  # ways of moving some numbers up and others down, beside all up and all down
WAYS = MIXED + 2


def movable(tensor: torch.Tensor) -> torch.Tensor:
    """Returns which real numbers are measured or computed ones, bool, in the tensor's shape.

    Whole numbers and multiples of 1/256 are taken for exact, such as codes and steps: a model may compare with them,
    and a number that is moved off such a step is another input, not the same one rounded. They are not moved.
    """
    steps = tensor.detach() * 256.0
    return tensor.isfinite() & (steps != steps.round())


def moved(tensor: torch.Tensor, way: int, random: torch.Generator) -> torch.Tensor:
    """Returns numbers moved by a few steps of their type; anything but movable real numbers as it is.

    Args:
        tensor: the numbers.
        way: below ``MIXED``: each up or down; else all up, or all down.
        random: draws the signs, one for each number.
    """
    if not tensor.is_floating_point():
        return tensor
    signs = torch.randint(0, 2, tensor.shape, generator=random) * 2 - 1
    signs = signs if way < MIXED else torch.full_like(signs, (-1) ** way)
    changed = tensor * (1 + NOISE * torch.finfo(tensor.dtype).eps * signs).to(tensor.dtype)
    return torch.where(movable(tensor), changed, tensor)


@contextmanager
def weights_moved(model: nn.Module, way: int) -> Iterator[None]:
    """Inside the block the parameters of the model are moved, each by a few steps of its type."""
    random = torch.Generator().manual_seed(way)
    kept = [(weight, weight.data) for _, weight in named_weights_of(model) if isinstance(weight, nn.Parameter)]
    try:
        for parameter, data in kept:
            parameter.data = moved(data, way, random)
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data
