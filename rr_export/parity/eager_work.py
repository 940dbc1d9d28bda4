"""What the eager model reads and computes in one run, whatever the file says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, what operators read and give is written down.

    Attributes:
        read: the memory of all tensors that an operator read.
    """

    supports_higher_order_operators = True

    def __init__(self, sizes: Collection[int] = ()) -> None:
        """Keeps the values of tensors with so many elements."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.read: set[int] = set()
        self._sizes = frozenset(sizes)
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []  # as it was made, and itself: it may change in place

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operator."""
        result = func(*args, **(kwargs or {}))
        given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        self.read |= {memory(t) for t in given}
        for tensor in (*given, *pytree.tree_leaves(result)):
            if isinstance(tensor, torch.Tensor) and not tensor.is_sparse and tensor.numel() in self._sizes:
                self._kept.append((tensor.detach().clone(), tensor.detach()))
        return result

    def values(self) -> list[NDArray[Any]]:
        """The values of the tensors that were kept, each flat."""
        found = []
        for tensor in {id(t): t for pair in self._kept for t in pair}.values():
            real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
            found.append(real.to(torch.float64).reshape(-1).numpy())
        return found

    def computed(self, array: NDArray[Any], rtol: float, atol: float) -> bool:
        """Whether one of the tensors that were kept has these values, in whatever shape."""
        wanted = array.astype(np.float64).reshape(-1)
        return any(
            value.size == wanted.size and np.allclose(value, wanted, rtol=rtol, atol=atol, equal_nan=True)
            for value in self.values()
        )


def memory(tensor: torch.Tensor) -> int:
    """What tells the memory of a tensor, and of its views, from others."""
    return int(tensor.untyped_storage()._cdata)
