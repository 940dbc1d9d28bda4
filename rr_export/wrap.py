"""Makes a model the root of its runs: reads its plan, and puts sites into one that exists and is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from rr_export.capture.request import bind
from rr_export.capture.trace import trace_plan
from rr_export.eager.choice import Choice
from rr_export.eager.layer_choice import LayerChoice
from rr_export.eager.learned import Learned, LearnedMarkov
from rr_export.eager.module_tree import tree_plan
from rr_export.eager.open_runs import open_runs_at
from rr_export.eager.skip_names import Skip
from rr_export.eager.trial import try_layer
from rr_export.errors import PlanError, RunError
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Markov, Policy


def route_layers(
    model: nn.Module,
    pattern: str,
    *,
    keep: float | None = None,
    policy: Policy | Markov | Learned | LearnedMarkov | None = None,
    hidden: str | None = None,
    skip: Skip | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Plan:
    """Every registration matching ``pattern`` is now a ``LayerChoice`` around the layer that was there.

    The wrapped registrations are printed. A layer registered at several places becomes several sites that
    share it. Weights are neither copied nor changed. They are registered with
    ``.layer`` after the site's name; state dicts keep the keys of the plain model, both ways.

    Args:
        model: the trained model, changed in place; it opens the run from now on.
        pattern: module path with shell wildcards inside the path's parts, such as ``encoder.layer.*``.
        keep: P(run) of every layer, in [0, 1].
        policy: instead of ``keep``: one policy over (skip, run) for every layer, or a ``Markov`` chain
            whose step t goes to the t-th matching layer. Of a ``Learned`` every layer gets one of its own, which
            begins like it; the steps of a ``LearnedMarkov`` go like those of a chain.
        hidden: see :class:`LayerChoice`.
        skip: what a skip of every layer returns, see :class:`LayerChoice`.
        args: arguments of the model. With them it runs once before anything is changed, and a layer that cannot be
            skipped is refused here; without, when it is first called.
        kwargs: keyword arguments of the model, for the same.

    Returns:
        The plan of the model.

    Raises:
        PlanError: nothing matches, or a match is or holds what another match wraps, or, with ``args``, a skip of a
            match has nothing to return; the text says how to write ``skip``.
        TypeError: the pattern is not a text.
        TypeError, ValueError: as for :class:`LayerChoice`.
    """
    if not isinstance(pattern, str):
        raise TypeError(
            f"route_layers: pattern: expected a text such as 'layers.*', got {pattern!r}; call it for each pattern"
        )
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
        inner = next((n for n, other in matches if other is not layer and _holds(layer, other)), None)
        if inner is not None:
            raise PlanError(
                f"route_layers: expected separate layers, got {inner!r} inside {name!r}; narrow {pattern!r}"
            )
    sites: dict[tuple[int, str], tuple[nn.Module, str, LayerChoice]] = {}
    for name, layer in matches:
        parent_name, _, key = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        if (id(parent), key) not in sites:
            made = _site(name, layer, keep, policy=_policy_of(policy, len(sites)), hidden=hidden, skip=skip)
            sites[id(parent), key] = (parent, name, made)
    if args is not None or kwargs is not None:
        _call_once(model, args or (), kwargs or {}, [(name, site) for _, name, site in sites.values()])
    for (_, key), (parent, name, site) in sites.items():  # nothing is changed before everything is checked
        parent._modules[key] = site
        print(f"routed {name} ({type(site.layer).__name__})")
    open_runs_at(model)
    return tree_plan(model)


def _policy_of(policy: Policy | Markov | Learned | LearnedMarkov | None, number: int) -> Policy | Learned | None:
    """The policy of the ``number``-th layer."""
    if isinstance(policy, Markov | LearnedMarkov):
        return policy.step(number)
    if isinstance(policy, Learned) and len(policy.chain) == 1:
        return copy.deepcopy(policy)
    return policy


def _site(name: str, layer: nn.Module, keep: float | None, **options: Any) -> LayerChoice:
    try:
        return LayerChoice(layer, keep, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"route_layers: {name!r}: {error}") from error


def _call_once(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], sites: Sequence[tuple[str, LayerChoice]]
) -> None:
    """Runs the model once, as it is, and skips every site with the arguments that its layer then gets.

    Raises:
        PlanError: a skip has nothing to return.
    """

    def skip_too(name: str, site: LayerChoice) -> Callable[[nn.Module, Any, Any, Any], None]:
        def after(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            try:
                site.learn(given, named, output)
            except RunError as error:
                raise PlanError(f"route_layers: {name!r}: {error}") from error

        return after

    hooks = [site.layer.register_forward_hook(skip_too(name, site), with_kwargs=True) for name, site in sites]
    try:
        try_layer(model, args, dict(kwargs))
    finally:
        for hook in hooks:
            hook.remove()


def plan_of(
    model: nn.Module,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    keep_training_routes: bool = False,
) -> Plan:
    """Returns the plan of ``model``, which opens the run from now on.

    Args:
        model: the model.
        args: with arguments the calls of the sites are those that one trace with them makes (this decides which
            sites are reached), and the decisions of the model's own code are sites too; without, there is one call per
            registration in the module tree.
        kwargs: keyword arguments of the trace.
        keep_training_routes: as for :func:`rr_export.export`; wants ``args``.

    Raises:
        CaptureError: the model's own code decides in a way that cannot be captured faithfully.
    """
    open_runs_at(model)
    if args is None and kwargs is None:
        if keep_training_routes:
            raise ValueError("plan_of: expected args with keep_training_routes, got none; give example arguments")
        return tree_plan(model)
    return trace_plan(bind(model, tuple(args or ()), kwargs), training=None if keep_training_routes else ())


def _holds(layer: nn.Module, other: nn.Module) -> bool:
    return any(m is other for m in layer.modules())


def _fits(name: list[str], pattern: list[str]) -> bool:
    return (
        name != [""]
        and len(name) == len(pattern)
        and all(fnmatchcase(n, p) for n, p in zip(name, pattern, strict=True))
    )
