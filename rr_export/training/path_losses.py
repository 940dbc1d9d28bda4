"""Losses over paths and over rows of probabilities, for any training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rr_export.eager.blocks import forced
from rr_export.laws.plan import Plan


def distillation(output: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Returns how far outputs are from those of a teacher: the mean over rows of ``T^2 KL(teacher || output)``.

    Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015; with the full path of the same model as
    the teacher it is the in-place distillation of Yu, Huang: Universally slimmable networks, 2019.

    Args:
        output: float [..., K], logits.
        teacher: float [..., K], logits; it gets no gradient.
        temperature: T, by which logits are divided, above 0.

    Raises:
        ValueError: the shapes differ, or the temperature is not above 0.
    """
    if output.shape != teacher.shape:
        raise ValueError(
            f"distillation: expected outputs of one shape, got {tuple(output.shape)} and {tuple(teacher.shape)}; pass "
            "logits of the same rows"
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(f"distillation: expected a temperature above 0, got {temperature!r}; give one")
    wanted = torch.log_softmax(teacher.detach() / temperature, dim=-1)
    found = torch.log_softmax(output / temperature, dim=-1)
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(dim=-1).mean()


def consistency(one: Tensor, other: Tensor) -> Tensor:
    """Returns how far two outputs are from each other: the mean over rows of ``(KL(p || q) + KL(q || p)) / 2``.

    With the outputs of two random paths for the same input it is the loss of Zuo et al.: Taming sparsely activated
    transformer with stochastic experts (THOR), 2022. Both get a gradient.

    Args:
        one: float [..., K], logits.
        other: float [..., K], logits.

    Raises:
        ValueError: the shapes differ.
    """
    if one.shape != other.shape:
        raise ValueError(
            f"consistency: expected outputs of one shape, got {tuple(one.shape)} and {tuple(other.shape)}; pass logits "
            "of the same rows"
        )
    p, q = torch.log_softmax(one, dim=-1), torch.log_softmax(other, dim=-1)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum(dim=-1).mean()


def importance_balance(probabilities: Tensor) -> Tensor:
    """Returns ``CV(sum over rows)^2``: 0 where all branches weigh alike, K - 1 where one has everything.

    CV is the standard deviation over the mean. Shazeer et al.: Outrageously large neural networks: the sparsely-gated
    mixture-of-experts layer, 2017, equation 7.

    Args:
        probabilities: float [N, K], a row per decision.

    Raises:
        ValueError: they are no such rows.
    """
    _check_rows(probabilities, "importance_balance")
    weight = probabilities.sum(dim=0)
    return weight.var(correction=0) / weight.mean() ** 2


def load_balance(probabilities: Tensor, routes: Tensor) -> Tensor:
    """Returns ``K * sum over k of f_k P_k``: 1 where all branches are drawn alike.

    f_k is the share of rows that took branch k, P_k the mean of their probabilities; the gradient goes through P.
    Fedus, Zoph, Shazeer: Switch transformers, 2022, equations 4 to 6.

    Args:
        probabilities: float [N, K], a row per decision.
        routes: int64 [N], the branches that were taken.

    Raises:
        ValueError: the probabilities are no such rows, or the routes not one branch for each.
    """
    _check_rows(probabilities, "load_balance")
    whole = isinstance(routes, Tensor) and not routes.is_floating_point() and routes.shape == probabilities.shape[:1]
    if not whole or bool(((routes < 0) | (routes >= probabilities.shape[-1])).any()):
        got = f"{routes.dtype} {tuple(routes.shape)}" if isinstance(routes, Tensor) else type(routes).__name__
        raise ValueError(
            f"load_balance: expected whole numbers from 0 to {probabilities.shape[-1] - 1}, one for each of "
            f"{len(probabilities)} rows, got {got}; pass the routes that these rows took"
        )
    count = probabilities.shape[-1]
    shares = torch.bincount(routes, minlength=count).to(probabilities) / len(routes)
    return count * (shares * probabilities.mean(dim=0)).sum()


def _check_rows(probabilities: Tensor, where: str) -> None:
    """Raises a ValueError where a tensor is not rows of probabilities."""
    rows = probabilities.detach()
    if rows.ndim != 2 or not rows.numel() or bool((rows < 0).any()) or bool(((rows.sum(-1) - 1).abs() > 1e-2).any()):
        raise ValueError(
            f"{where}: expected rows of probabilities, float [N, K], that sum to 1, got shape {tuple(rows.shape)}"
            f"{f' and sums of {rows.sum(-1)[:3].tolist()}' if rows.ndim == 2 and rows.numel() else ''}; pass a softmax"
        )


def sandwich_paths(
    plan: Plan,
    *,
    random: int = 2,
    generator: np.random.Generator | None = None,
    largest: ArrayLike | None = None,
    smallest: ArrayLike | None = None,
) -> list[NDArray[np.int64]]:
    """Returns the paths of one step by the sandwich rule: the largest, the smallest, and random ones, int64 [S] each.

    Yu, Huang: Universally slimmable networks, 2019. Random paths are drawn by the plan's law; of another law draw with
    ``plan.with_policies(...)``.

    Args:
        plan: of the model.
        random: how many random paths.
        generator: draws them; None: one of the operating system's seed.
        largest: the path that computes most; None: every layer runs.
        smallest: the path that computes least; None: every layer is skipped.

    Raises:
        ValueError: a site is no layer, and the largest or smallest path is not given; or it is no path of the plan.
    """
    if random < 0:
        raise ValueError(f"sandwich_paths: expected no fewer than 0 random paths, got {random}; give their number")
    found = []
    for given, route in ((largest, 1), (smallest, 0)):
        other = next((site for site in plan.sites if site.kind != "layer"), None)
        if given is not None:
            found.append(plan.check_whole_path(given))
        elif other is None:
            found.append(plan.taken(np.full(len(plan.sites), route)))
        else:
            raise ValueError(
                f"sandwich_paths: expected layers alone, got site {other.name!r} of kind {other.kind}, whose largest "
                "branch is not known; give largest= and smallest="
            )
    draw = np.random.default_rng() if generator is None else generator
    for _ in range(random):
        draws = draw.random(len(plan.sites), dtype=np.float32)
        found.append(plan.taken(plan.routes(draws)))
    return found


def sandwich_loss(
    model: nn.Module,
    paths: Sequence[ArrayLike],
    call: Callable[[], Any],
    task: Callable[[Any], Tensor],
    *,
    distil: Callable[[Any, Any], Tensor] = distillation,
) -> Tensor:
    """Returns the mean over paths: the task's loss of the first, and for the others how far they are from the first.

    Yu, Huang: Universally slimmable networks, 2019.

    Args:
        model: the model.
        paths: see :func:`sandwich_paths`.
        call: runs the model, such as ``lambda: model(x)``.
        task: the loss of what ``call`` returns, such as ``lambda output: cross_entropy(output, y)``.
        distil: the loss of what ``call`` returns on another path, given what it returned on the first.

    Raises:
        ValueError: there is no path.
    """
    if not len(paths):
        raise ValueError("sandwich_loss: expected one path at least, got none; take those of sandwich_paths")
    losses: list[Tensor] = []
    first: Any = None
    for path in paths:
        with forced(model, np.asarray(path)):
            output = call()
        losses.append(distil(output, first) if losses else task(output))
        first = output if first is None else first
    return torch.stack(losses).mean()
