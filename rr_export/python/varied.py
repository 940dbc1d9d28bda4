"""Which tensors differ from run to run: the inputs, and what torch makes of them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary


class Varied:
    """Tensors that depend on the input, found by looking on while functions of torch are called."""

    def __init__(self, inputs: Any = ()) -> None:
        self.tensors = WeakIdKeyDictionary()
        self.add(inputs)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return tensor in self.tensors

    def add(self, values: Any) -> None:
        """All tensors in ``values`` depend on the input."""
        for leaf in pytree.tree_leaves(values):
            if isinstance(leaf, torch.Tensor):
                self.tensors[leaf] = True

    def told(self, args: Any, kwargs: Any, result: Any) -> None:
        """After a function of torch: what is made of something that varies, varies."""
        given = pytree.tree_leaves((args, kwargs))
        if any(isinstance(t, torch.Tensor) and t in self.tensors for t in given):
            self.add(result)
