"""Gates: the input decides which branch is taken, by probabilities that a module computes where the site is called."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rr_export.errors import RunError
from rr_export.laws.policies import Gated

GRID = 2**24  # draws are multiples of its inverse


class Gate(Gated):
    """The input decides: ``module`` computes the logits of the branches from the arguments of the site.

    All rows of a batch share the route, as at every site, so the module gives one vector for the run: it pools over
    rows, or takes what is alike in all of them. It is registered at the site, as ``routing_gate``, and trained and
    saved with it. In a run the site is called at most once, and the module with it, also where the route is forced.

    With ``decision="sample"`` branch k has probability ``softmax(logits)[k]``, and the run's draw chooses, as at any
    site: a seed gives the same route for the same input. With "argmax" the likeliest branch is taken.

    Args:
        module: from the arguments of the site to logits, real numbers [K].
        k: the number of branches, K.
        decision: "sample" or "argmax".
        report: the exported file has the probabilities as an output, ``SITE.probabilities``, float32 [K]: zeros where
            the site is not reached.

    Raises:
        TypeError: the module is none.
        ValueError: ``k`` is no positive integer, or the decision is unknown.
    """

    module: nn.Module
    report: bool

    def __init__(self, module: nn.Module, k: int, *, decision: str = "sample", report: bool = False) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"Gate: expected an nn.Module that gives logits, got {type(module).__name__}; wrap it")
        super().__init__(k, decision)
        object.__setattr__(self, "module", module)
        object.__setattr__(self, "report", report)


def gate_logits(site: nn.Module, policy: Gated, where: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns the logits that the gate of a site gives for its arguments, [K].

    Raises:
        RunError: they are something else.
    """
    logits = site.get_submodule("routing_gate")(*args, **kwargs)
    shape = list(logits.shape) if isinstance(logits, torch.Tensor) and logits.is_floating_point() else None
    if shape != [policy.branches]:
        got = type(logits).__name__ if shape is None else f"shape {shape}"
        raise RunError(
            f"{where}: expected a gate that gives logits, real numbers of shape [{policy.branches}] for the whole run, "
            f"got {got}; let it pool over the rows"
        )
    return logits


def gate_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Returns the probabilities that are reported, float32 [K]."""
    return torch.softmax(logits.to(torch.float32), 0)


def reported_name(site: str) -> str:
    """Returns the name of the output that has the probabilities of a gate."""
    return f"{site}.probabilities"


def gate_limits(logits: torch.Tensor, decision: str) -> torch.Tensor:
    """Returns the limits of the routes, int64 [K - 1]: the route is the number of them that are <= 2^24 times the draw.

    They are the least whole numbers that reach the cumulated probabilities, which are computed in float64. Where the
    likeliest branch is taken, they are such that every draw gives it.
    """
    count = logits.shape[0]
    if decision == "argmax":
        best = torch.argmax(logits, 0)
        return torch.where(torch.arange(1, count) <= best, 0, GRID)
    cumulated = torch.cumsum(torch.softmax(logits.to(torch.float64), 0), 0)
    return torch.ceil(cumulated[: count - 1] * GRID).to(torch.int64)


def gate_route(logits: torch.Tensor, decision: str, draw: float, where: str) -> int:
    """Returns the route that the logits and the run's draw give.

    Raises:
        RunError: the logits are no numbers.
    """
    found = logits.detach()
    if bool(torch.isnan(found).any()) or bool(torch.isposinf(found).any()) or bool(torch.isneginf(found).all()):
        raise RunError(f"{where}: expected logits that are numbers, got {found.tolist()}; mend the gate")
    limits = gate_limits(found.cpu(), decision)
    return int((limits <= round(draw * GRID)).sum())
