"""Attention of any number of axes is captured with four, which is what torch's translation to ONNX takes.

before:  scaled_dot_product_attention(q [.., L, E], k [.., S, E], v [.., S, V])
after:   the same with q [A, B, L, E]: the axes in front are one, or there is one more of size 1
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_attention: Any = F.scaled_dot_product_attention


def is_attention(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether this is attention on other than four axes."""
    if function is not _attention:
        return False
    parts = [*args[:3], *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)]
    return any(part.dim() != 4 for part in parts)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Returns what torch's function of this name gives."""
    parts = [query, key, value]
    front = query.shape[:-2]
    if not enable_gqa:
        shapes: Any = torch.broadcast_shapes
        front = shapes(*(part.shape[:-2] for part in parts))
        parts = [part.expand(*front, *part.shape[-2:]) for part in parts]
    if attn_mask is not None and attn_mask.dim() > 2:
        attn_mask = _with_four_axes(attn_mask.expand(*front, *attn_mask.shape[-2:]))
    result: Tensor = _attention(
        *map(_with_four_axes, parts), attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
    return result.reshape(*front, *result.shape[-2:])


def _with_four_axes(tensor: Tensor) -> Tensor:
    """The tensor as [A, B, .., ..]: B is its third axis from the end, A all before it together."""
    *front, rows, width = tensor.shape
    own = front[-1] if front else 1
    return tensor.reshape(math.prod(front[:-1]), own, rows, width)
