"""Which tensors differ from run to run: the inputs, and what is made of them, or written with them."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

# functions that take of their first tensor its size and type alone; what they fill with counts
SIZE_ONLY = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}

_PLAIN = frozenset((type(None), bool, int, float, complex, str, torch.dtype, torch.device))  # no containers


class Varied:
    """Tensors that depend on something, found by looking on while functions of torch are called.

    Tensors that share memory are one: what is written into a view is written into its base.
    """

    def __init__(self, values: Any = ()) -> None:
        self.storages: dict[int, StorageWeakRef] = {}  # a weak reference keeps the address from being used again
        self.alone = WeakIdKeyDictionary()  # tensors without memory of their own: sparse ones, or of other layouts
        self.add(values)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        if not has_memory(tensor):
            return tensor in self.alone
        return tensor.untyped_storage()._cdata in self.storages

    def add(self, values: Any) -> None:
        """All tensors in ``values`` depend on it."""
        for leaf in tensors_in(values):
            if not has_memory(leaf):
                self.alone[leaf] = True
                continue
            storage = leaf.untyped_storage()
            self.storages.setdefault(storage._cdata, StorageWeakRef(storage))  # type: ignore[no-untyped-call]

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """After a function of torch: what is made of something that varies, or written with it, varies."""
        if not self.storages and not self.alone:
            return
        name = getattr(function, "__name__", "")
        if name in SIZE_ONLY:
            args, kwargs = args[1:], {key: value for key, value in kwargs.items() if key not in ("input", "self")}
        if any(t in self for t in tensors_in((args, kwargs))):
            self.add(result)
            if args and (name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))):
                self.add(args[0])
            self.add(kwargs.get("out"))


def tensors_in(values: Any) -> list[torch.Tensor]:
    """Returns the tensors in a structure."""
    found: list[torch.Tensor] = []
    _collect(values, found)
    return found


def _collect(values: Any, found: list[torch.Tensor]) -> None:
    """Adds the tensors in a structure; torch's own way through it, for other containers, takes ten times as long."""
    if isinstance(values, torch.Tensor):
        found.append(values)
        return
    kind = type(values)
    if kind in _PLAIN:
        return
    if kind is tuple or kind is list:
        for value in values:
            _collect(value, found)
    elif kind is dict:
        for value in values.values():
            _collect(value, found)
    else:
        found += [t for t in pytree.tree_leaves(values) if isinstance(t, torch.Tensor)]


def has_memory(tensor: torch.Tensor) -> bool:
    """Returns whether a tensor has memory of its own, which views of it share."""
    return tensor.layout is torch.strided and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
