"""Functions of torch are replaced while torch.export runs, where ONNX has a better form for them than torch.export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from rr_export.capture.recast.attention import attend, is_attention
from rr_export.capture.recast.module_moves import modules_stay
from rr_export.capture.recast.packing import Packing, unchecked
from rr_export.capture.recast.recurrent import RECURRENT, Zeros, recurrent

_ZEROS = (torch.zeros, torch.zeros_like, torch.Tensor.new_zeros)


@contextmanager
def substituted() -> Iterator[None]:
    """Inside, LSTM, GRU and RNN are single nodes, packed sequences are padded ones, attention has four axes.

    Modules that are converted to what they are stay as they are.
    """
    packing = Packing()
    with modules_stay(), unchecked(packing), _Substitutes(packing):
        yield


class _Substitutes(TorchFunctionMode):
    def __init__(self, packing: Packing) -> None:
        super().__init__()
        self._zeros, self._packing = Zeros(), packing
        self._forms: dict[Any, Callable[..., Any]] = {
            torch._VF._pack_padded_sequence: packing.pack,
            torch._VF._pad_packed_sequence: packing.pad,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._forms:
            return self._forms[func](*args, **kwargs)
        if func in RECURRENT:
            return recurrent(func, args, kwargs, self._zeros, self._packing)
        if is_attention(func, args, kwargs):
            return attend(*args, **kwargs)
        told = self._packing.asked(func, args, kwargs)
        if told is not None:
            return told
        result = func(*args, **kwargs)
        if func in _ZEROS:
            self._zeros.add(result)
        return result
