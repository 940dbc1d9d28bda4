"""How far apart two computations of a model may be: by the coarsest type of number that the model computes in."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from rr_export.eager.learned import named_weights_of
from rr_export.errors import RunError
from rr_export.laws.plan import Plan
from rr_export.parity.eager_model import Eager

RUNS = 4  # paths of a covering set on which the model's numbers are looked at

# (relative, absolute), by the distance from 1 to the next number of the type: about ten steps of half precision, whose
# rounding every operator shows; of float32 several hundred, since engines sum in other orders
_COARSE = ((2.0**-8, (8e-2, 4e-2)), (2.0**-11, (1e-2, 5e-3)), (0.0, (1e-4, 1e-5)))


def tolerances_of(eager: Eager, plan: Plan) -> dict[str, float]:
    """Returns ``rtol`` and ``atol`` for the types that the model computes in: whatever is computed is looked at.

    What a file says or does has no say in it.
    """
    seen = _Types()
    tensors = [tensor for _, tensor in named_weights_of(eager.model)]
    tensors += [t for _, t in eager.request.tensors(eager.request.args, eager.request.kwargs)]
    seen.add(tensors)
    paths = list(dict.fromkeys([plan.evenly().most_probable(), *plan.covering()]))[:RUNS] if plan.sites else [()]
    for path in paths:
        try:
            with seen:
                eager.on_path(path)
        except RunError:  # whoever compares the runs says so
            break
    rtol, atol = next(pair for least, pair in _COARSE if seen.coarsest >= least)
    return {"rtol": rtol, "atol": atol}


class _Types(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The coarsest type of real numbers among all tensors that are computed in the block."""

    supports_higher_order_operators = True  # such as torch.while_loop

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.coarsest = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.add(result)
        return result

    def add(self, values: Any) -> None:
        """Takes the types of these tensors into account."""
        for leaf in pytree.tree_leaves(values):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                self.coarsest = max(self.coarsest, _step(leaf.dtype))


@functools.cache
def _step(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps)
