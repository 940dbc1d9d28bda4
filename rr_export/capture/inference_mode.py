"""Inference mode, left during a capture: its tensors have no versions, which tell what was changed in place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree


@contextlib.contextmanager
def left_inference_mode(model: nn.Module) -> Iterator[None]:
    """Inside the block, code that enters inference mode turns off gradients only, and no weight is of that mode.

    A weight that was made in inference mode is a copy of itself there; the model has its own back afterwards.
    """
    enter = torch.inference_mode.__enter__
    copies: dict[int, torch.Tensor] = {}
    with torch.inference_mode(mode=False), contextlib.ExitStack() as undo:
        for module in model.modules():
            both: tuple[dict[str, Any], ...] = module._parameters, module._buffers
            for weights in both:
                for name, weight in weights.items():
                    if weight is not None and weight.is_inference():
                        undo.callback(weights.__setitem__, name, weight)
                        weights[name] = copies.setdefault(id(weight), _copy(weight))
        undo.callback(setattr, torch.inference_mode, "__enter__", enter)
        torch.inference_mode.__enter__ = _turn_off_gradients  # type: ignore[method-assign]
        yield


def outside_inference_mode(values: Any) -> Any:
    """Returns the structure with copies of the tensors in it that were made in inference mode."""
    if not any(isinstance(v, torch.Tensor) and v.is_inference() for v in pytree.tree_leaves(values)):
        return values
    with torch.inference_mode(mode=False):
        return pytree.tree_map_only(torch.Tensor, lambda t: _copy(t) if t.is_inference() else t, values)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    copy = tensor.detach().clone()
    return nn.Parameter(copy, requires_grad=False) if isinstance(tensor, nn.Parameter) else copy


def _turn_off_gradients(mode: torch.inference_mode) -> None:
    """What ``inference_mode.__enter__`` does inside the block; its ``__exit__`` leaves what was entered here."""
    entered: Any = torch.no_grad() if mode.mode else contextlib.nullcontext()
    mode._inference_mode_context = entered
    entered.__enter__()
