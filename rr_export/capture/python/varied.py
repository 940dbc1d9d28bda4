"""Which tensors differ from run to run: the inputs, and what is made of them, or written with them."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree

# functions that take of a tensor its size and type alone
SIZE_ONLY = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}


class Varied:
    """Tensors that depend on something, found by looking on while functions of torch are called.

    Tensors that share memory are one: what is written into a view is written into its base.
    """

    def __init__(self, values: Any = ()) -> None:
        self.storages: dict[int, StorageWeakRef] = {}  # a weak reference keeps the address from being used again
        self.add(values)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.storages

    def add(self, values: Any) -> None:
        """All tensors in ``values`` depend on it."""
        for leaf in tensors_in(values):
            storage = leaf.untyped_storage()
            self.storages.setdefault(storage._cdata, StorageWeakRef(storage))  # type: ignore[no-untyped-call]

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """After a function of torch: what is made of something that varies, or written with it, varies."""
        name = getattr(function, "__name__", "")
        if name in SIZE_ONLY:
            return
        if any(t in self for t in tensors_in((args, kwargs))):
            self.add(result)
            if args and (name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))):
                self.add(args[0])
            self.add(kwargs.get("out"))


def tensors_in(values: Any) -> list[torch.Tensor]:
    """Returns the tensors in a structure that have memory."""
    return [t for t in pytree.tree_leaves(values) if isinstance(t, torch.Tensor) and _has_memory(t)]


def _has_memory(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
