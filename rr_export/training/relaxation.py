"""Choices with a gradient: one-hot weights as they are drawn, whose gradient is that of a softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as pytree

from rr_export.errors import RunError


def relaxed_choice(log_p: Tensor, route: int, *, temperature: float, exponentials: Tensor) -> Tensor:
    """Returns one-hot weights of a drawn route, whose gradient is that of the Gumbel-softmax given that route.

    With Gumbel noise G, ``argmax(log p + G)`` has the law p, and ``softmax((log p + G) / temperature)`` is its
    relaxation (Jang, Gu, Poole: Categorical reparameterization with Gumbel-softmax, 2017; Maddison, Mnih, Teh: The
    concrete distribution, 2017). Here the route is drawn already, so the noise is drawn given it: with E exponential,
    ``log p_k + G_k = -log E_k`` for the route k, and ``log p_j + G_j = -log(E_j / p_j + E_k)`` for the others
    (Maddison, Tarlow, Minka: A* sampling, 2014). The mean over several such noises has the same expectation and a
    smaller variance (Paulus, Maddison, Krause: Rao-Blackwellizing the straight-through Gumbel-softmax gradient
    estimator, 2021).

    Args:
        log_p: float [K], the logarithms of probabilities: of a learned policy, or of any other that has a gradient.
        route: that was drawn by them.
        temperature: above 0; a lower one has less bias and more variance.
        exponentials: float [n, K], draws of the exponential law of mean 1.

    Returns:
        float [K]: exactly 1 at the route, 0 elsewhere.
    """
    known, logs = log_p.detach(), exponentials.log()
    top = logs[:, route : route + 1]
    perturbed = -torch.logaddexp(logs - known, top)
    perturbed[:, route] = -top[:, 0]
    soft = torch.softmax((log_p + (perturbed - known)) / temperature, dim=-1).mean(dim=0)
    hard = torch.zeros_like(known)
    hard[route] = 1.0
    return hard + (soft - soft.detach())


def joined_outputs(where: str, weights: Tensor, route: int, outputs: Sequence[Any]) -> Any:
    """Returns what the taken branch returned, bit for bit; its gradient goes to the weights too.

    The gradient of weight k is the sum of gradient * output over all numbers of branch k: that of the sum of all
    outputs by their weights. Branches that are not taken get none.

    Args:
        where: what to call the site.
        weights: float [K], one-hot.
        route: the branch that is taken.
        outputs: of every branch; those of the others are without a gradient.

    Raises:
        RunError: branches return something of other nestings or shapes.
    """
    taken, nesting = pytree.tree_flatten(outputs[route])
    columns = [pytree.tree_leaves(output) for output in outputs]
    shown = [[tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in c] for c in columns]
    for k, output in enumerate(outputs):
        if pytree.tree_structure(output) != nesting or shown[k] != shown[route]:
            raise RunError(
                f"{where}: expected branches that return tensors of one nesting and shape, got {shown[k]} of branch "
                f"{k} and {shown[route]} of branch {route}; make them agree, or use ScoreFunction"
            )
    for i, leaf in enumerate(taken):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            others = [column[i].detach() for column in columns]
            taken[i] = _Weighed.apply(weights, leaf, *others)  # type: ignore[no-untyped-call]
    return pytree.tree_unflatten(taken, nesting)


class _Weighed(torch.autograd.Function):
    """The taken output, as a function of the weights of all."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, taken: Tensor, *outputs: Tensor) -> Tensor:
        ctx.save_for_backward(*outputs)
        ctx.kind = weights.dtype, weights.device
        return taken.view_as(taken)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        dtype, device = ctx.kind
        sums = [(gradient * output).sum(dtype=dtype).to(device) for output in ctx.saved_tensors]
        return torch.stack(sums), gradient, *[None] * len(sums)
