"""What can be seen of an object that is not tracked: enough to tell that it was changed."""

from __future__ import annotations

import contextvars
import ctypes
import gc
import hashlib
import io
import itertools
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

LARGE = 2**16  # bytes; of more a digest is kept
SMALL = 2**12  # bytes: of larger tensors only the changes are seen that torch counts


def trace_of(value: Any) -> Any:
    """Returns what is another value after the object was changed; of an object that cannot change always the same."""
    if isinstance(value, torch.Tensor):
        return numbers_of(value)
    memory = _memory(value)
    if memory is not None:
        return memory
    return tuple(map(id, inside(value))), _progress(value)


def numbers_of(tensor: torch.Tensor) -> bytes | None:
    """Returns the memory of a small tensor, which shows changes that torch does not count; None: it has none here."""
    if type(tensor) is not torch.Tensor or torch._C._len_torch_dispatch_stack():
        return None
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor):
        return None
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return None
    storage = tensor.untyped_storage()
    if storage.nbytes() > SMALL or not storage.data_ptr():
        return None
    return ctypes.string_at(storage.data_ptr(), storage.nbytes())


def inside(value: Any) -> list[Any]:
    """Returns the objects that an object holds."""
    if isinstance(value, types.GeneratorType):
        return [] if value.gi_frame is None else list(value.gi_frame.f_locals.values())
    if isinstance(value, contextvars.ContextVar):
        return [value.get(None)]
    if isinstance(value, np.ndarray):
        return value.ravel().tolist() if value.dtype.hasobject else []
    return [v for v in gc.get_referents(value) if not isinstance(v, type | types.ModuleType | types.FrameType)]


def _memory(value: Any) -> Any:
    """The memory of arrays, of whatever library."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return None
    try:
        view = memoryview(value)
    except (TypeError, ValueError, BufferError):
        return None
    with view:
        content = view.tobytes()
        return view.shape, content if len(content) < LARGE else hashlib.blake2b(content).digest()


def _progress(value: Any) -> Any:
    """How far something is that is used up, or written."""
    if isinstance(value, io.StringIO | io.BytesIO):
        return None if value.closed else (value.tell(), value.getvalue())
    if isinstance(value, types.GeneratorType):
        return None if value.gi_frame is None else value.gi_frame.f_lasti
    if isinstance(value, itertools.count | itertools.repeat):
        return repr(value)
    if not isinstance(value, Iterator) or type(value).__module__ not in ("builtins", "itertools", "collections"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            state = value.__reduce__()  # plain for the iterators of Python itself
        except TypeError:
            return None
    return tuple(_plain(part) for part in state) if isinstance(state, tuple) else None


def _plain(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(_plain, part))
    return part if isinstance(part, int | str) else id(part) if isinstance(part, list | dict | set) else None
