"""Which tensors differ from run to run: the inputs, and what is made of them, or written with them."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

# functions that take of their first tensor its size and type alone; what they fill with counts
SIZE_ONLY = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}


class Varied:
    """Tensors that depend on something, found by looking on while functions of torch are called.

    Tensors that share memory are one: what is written into a view is written into its base.
    """

    def __init__(self, values: Any = ()) -> None:
        self.storages: dict[int, StorageWeakRef] = {}  # a weak reference keeps the address from being used again
        self.alone = WeakIdKeyDictionary()  # tensors without memory of their own: sparse ones, or of other layouts
        self.add(values)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        if not _has_memory(tensor):
            return tensor in self.alone
        return tensor.untyped_storage()._cdata in self.storages

    def add(self, values: Any) -> None:
        """All tensors in ``values`` depend on it."""
        for leaf in tensors_in(values):
            if not _has_memory(leaf):
                self.alone[leaf] = True
                continue
            storage = leaf.untyped_storage()
            self.storages.setdefault(storage._cdata, StorageWeakRef(storage))  # type: ignore[no-untyped-call]

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """After a function of torch: what is made of something that varies, or written with it, varies."""
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
    return [t for t in pytree.tree_leaves(values) if isinstance(t, torch.Tensor)]


def _has_memory(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
