"""Makes a model the root of its runs: reads its plan, and puts sites into one that exists and is trained."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from rr_export.capture import trace_plan
from rr_export.errors import PlanError
from rr_export.plan import Plan
from rr_export.policies import Markov, Policy
from rr_export.run import Choice, open_runs_at, tree_plan
from rr_export.sites import LayerChoice


def route_layers(
    model: nn.Module,
    pattern: str,
    *,
    keep: float | None = None,
    policy: Policy | Markov | None = None,
    hidden: str | None = None,
) -> Plan:
    """Every registration matching ``pattern`` is now a ``LayerChoice`` around the layer that was there.

    The wrapped registrations are printed. A layer registered at several places becomes several sites that
    share it. Weights are neither copied nor changed; their names gain ``.layer`` after the site's name.

    Args:
        model: the trained model, changed in place; it opens the run from now on.
        pattern: module path with shell wildcards inside the path's parts, such as ``encoder.layer.*``.
        keep: P(run) of every layer, in [0, 1].
        policy: instead of ``keep``: one policy over (skip, run) for every layer, or a ``Markov`` chain
            whose step t goes to the t-th matching layer.
        hidden: see :class:`LayerChoice`.

    Returns:
        The plan of the model.

    Raises:
        PlanError: nothing matches, or a match is or holds what another match wraps.
        ValueError: not exactly one of ``keep`` and ``policy`` is given.
    """
    parts = pattern.split(".")
    matches = [
        (name, layer) for name, layer in model.named_modules(remove_duplicate=False) if _fits(name.split("."), parts)
    ]
    if not matches:
        near = sorted({n for n, _ in model.named_modules() if n and len(n.split(".")) == len(parts)})[:5]
        raise PlanError(
            f"route_layers: expected {pattern!r} to match a module, got no match; modules of that depth are "
            f"{near or 'none'}, see model.named_modules()"
        )
    for name, layer in matches:
        if isinstance(layer, Choice):
            raise PlanError(f"route_layers: expected {name!r} to be a layer, got a site already; narrow {pattern!r}")
    done: set[tuple[int, str]] = set()
    for name, layer in matches:
        parent_name, _, key = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        if (id(parent), key) not in done:
            step = policy.step(len(done)) if isinstance(policy, Markov) else policy
            parent._modules[key] = LayerChoice(layer, keep, policy=step, hidden=hidden)
            done.add((id(parent), key))
            print(f"routed {name} ({type(layer).__name__})")
    open_runs_at(model)
    return tree_plan(model)


def plan_of(model: nn.Module, args: tuple[Any, ...] | None = None, kwargs: Mapping[str, Any] | None = None) -> Plan:
    """Returns the plan of ``model``, which opens the run from now on.

    Args:
        model: the model.
        args: with arguments the calls of the sites are those that one trace with them makes (this decides which
            sites are reached); without, one call per registration in the module tree.
        kwargs: keyword arguments of the trace.
    """
    open_runs_at(model)
    return tree_plan(model) if args is None and kwargs is None else trace_plan(model, args or (), kwargs)


def _fits(name: list[str], pattern: list[str]) -> bool:
    return (
        name != [""]
        and len(name) == len(pattern)
        and all(fnmatchcase(n, p) for n, p in zip(name, pattern, strict=True))
    )
