"""Conversions of modules inside a forward, such as ``self.router.to(x.dtype)``: most change nothing, and do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rr_export.capture.user_lines import refuse


@contextmanager
def modules_stay() -> Iterator[None]:
    """Inside, conversions that change no tensor of their module do nothing, and others are refused by line."""
    before = nn.Module._apply
    nn.Module._apply = _unchanged  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module._apply = before  # type: ignore[method-assign]


def _unchanged(self: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    for name, tensor in (*self.named_parameters(recurse=recurse), *self.named_buffers(recurse=recurse)):
        new = fn(tensor)
        if (new.dtype, new.device, new.shape) != (tensor.dtype, tensor.device, tensor.shape):
            refuse(
                "modules that stay as they are inside forward",
                f"a conversion of {type(self).__name__} that makes {name} {_told(new)}, which was {_told(tensor)}",
                "convert the module once, before export",
            )
    return self


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
